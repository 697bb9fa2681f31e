"""Reads the features of normal footage from a store."""

from __future__ import annotations

from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.scoring.split import cut_long_clips
from training.fit import Footage
from training.settings import DataConfig


def load_footage(config: DataConfig) -> Footage:
    """Return the clips that `config` names; fewer than a split needs are cut into pieces.

    Raises ValueError where there is none, StoreError for a damaged store.
    """
    store = FeatureStore(config.store)
    names = store.clips(dataset=config.dataset or None, split=config.split or None)
    if not names:
        parts = sorted({f"{info.dataset} ({info.split})" for info in store.infos.values()})
        held = ", ".join(parts) or "none"
        raise ValueError(
            f"{store.folder}: got no clip of dataset {config.dataset or 'any'!r} and split"
            f" {config.split or 'any'!r}, expected some; the store holds {held}"
        )
    clips = cut_long_clips({name: store.read(name) for name in names})
    return Footage(
        clips=clips,
        layout=store.layout,
        feature_id=store.feature_id,
        settings=store.infos[names[0]].settings,
    )
