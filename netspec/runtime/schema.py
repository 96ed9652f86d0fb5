"""The JSON Schema of run profiles."""

from __future__ import annotations

from netspec.network.schema_parts import DRAFT, Json, model_schema
from netspec.runtime.profile import Profile


def profile_schema() -> Json:
    """The schema of `runners/*.yaml`, draft 7."""
    return {"$schema": DRAFT, "title": "netspec run profile, version 1", **model_schema(Profile)}
