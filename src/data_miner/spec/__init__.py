"""What a user may ask for: the MiningProject, read from YAML or from Kubernetes."""

from data_miner.spec.load import load_project, load_projects, project_from, project_of
from data_miner.spec.project import (
    API_VERSION,
    KIND,
    DeletionPolicy,
    Metadata,
    MiningProject,
    MiningProjectSpec,
    canonical,
)

__all__ = [
    "API_VERSION",
    "KIND",
    "DeletionPolicy",
    "Metadata",
    "MiningProject",
    "MiningProjectSpec",
    "canonical",
    "load_project",
    "load_projects",
    "project_from",
    "project_of",
]
