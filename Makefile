# make setup   .venv and the message packages
# make demo    all of it on rendered scenes; FAST=1: no training; VIDEO=...: the graph on a video
# make test    the whole test suite
# Each does what is missing and no more; each can be run again at any time.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test

PYTHON ?= python3
PYTEST_ARGS ?=
export TAO_ANOMALY_SHARED ?= $(abspath ../shared)

STAMPS := .venv/.made
BUILT := install/.made
REQUIREMENTS := $(wildcard requirements/*.txt)
MESSAGES := $(wildcard tao_anomaly_msgs/*.* tao_anomaly_msgs/msg/*.msg underlay/*_msgs/*.* \
    underlay/*_msgs/msg/*.msg)

help:
	@sed -n '1,3s/^# //p' Makefile

setup: $(BUILT)
	@echo "setup: ready. 'source underlay/env.sh' gives a shell the same environment."

$(STAMPS)/venv:
	@PYTHON="$(PYTHON)" underlay/setup.sh venv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/venv $(REQUIREMENTS) underlay/fix_wheel_exports.py
	@PYTHON="$(PYTHON)" underlay/setup.sh packages
	@touch $@

$(BUILT): $(STAMPS)/packages $(MESSAGES)
	@PYTHON="$(PYTHON)" underlay/setup.sh messages
	@touch $@

demo: setup
	@source underlay/env.sh && exec python -m tao_anomaly.nodes.demo $(if $(FAST),--fast) \
	    --video "$(VIDEO)" --normal "$(NORMAL)" --weights "$(WEIGHTS)" \
	    --weights-sha256 "$(WEIGHTS_SHA256)"

test: setup
	@echo "test: pytest $(PYTEST_ARGS)"
	@source underlay/env.sh && python -m pytest $(PYTEST_ARGS)
