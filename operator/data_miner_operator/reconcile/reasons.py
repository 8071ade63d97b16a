"""Every reason that a condition or an event may have, with what it means: a closed list.

People and alerts match on these words; they do not change between releases. docs/operator.md shows
the same list.
"""

from __future__ import annotations

from typing import Final

STALLS: Final[dict[str, str]] = {
    "SourcesFailed": "the sources cannot be listed",
    "NothingFound": "the sources found no video",
    "NoUsableVideo": "no video that was found can be used",
    "StageFailed": "something that the rest waits for has failed for good",
    "NothingKept": "no frame passed the filter",
    "NothingExported": "images were kept, and none could be exported",
}
"""Why a project that is applied gets no further by itself."""

REFUSALS: Final[dict[str, str]] = {
    "SpecInvalid": "the spec says something that cannot be; the message has its path",
    "NotAllowed": "the spec names a place outside of what the installation allows",
    "CredentialsMissing": "the workers do not have a credential that the spec names",
    "CredentialsNotAllowed": "a credential that the spec names is not for this namespace",
    "ModelsMissing": "no store has a model that the spec names, and nothing makes it",
    "ModelJobFailed": "the Job that makes a model has failed",
    "NotOwner": "the catalogue has a project of this name from elsewhere",
}
"""Why a spec is not applied until somebody mends something."""

_DISABLED: Final = {"ReconciliationDisabled": "the object asks to be left alone"}
_AWAY: Final = {"DatabaseUnreachable": "PostgreSQL cannot be asked"}
_STORE_AWAY: Final = {
    "ModelStoreUnreachable": "the store that may have a model that the spec names cannot be asked"
}

CONDITIONS: Final[dict[str, dict[str, dict[str, str]]]] = {
    "Ready": {
        "True": {"Applied": "the catalogue has this generation; what can be done is being done"},
        "False": {
            "Applying": "this generation is about to be written to the catalogue",
            "MakingModels": "a Job makes a model that the spec names",
            **REFUSALS,
            **STALLS,
        },
        "Unknown": {**_AWAY, **_STORE_AWAY, **_DISABLED},
    },
    "SpecValid": {
        "True": {"Valid": "the spec can be compiled"},
        "False": {reason: REFUSALS[reason] for reason in ("SpecInvalid", "NotAllowed")},
        "Unknown": _DISABLED,
    },
    "DatabaseReachable": {
        "True": {"Connected": "PostgreSQL answers"},
        "False": {"Unreachable": "PostgreSQL cannot be asked; counts are the last known ones"},
    },
    "CredentialsReady": {
        "True": {
            "NoneNamed": "the spec names no credential",
            "Mounted": "the workers have it, and this namespace may use it",
            "NotChecked": "the installation lists no credentials",
        },
        "False": {
            reason: REFUSALS[reason] for reason in ("CredentialsMissing", "CredentialsNotAllowed")
        },
        "Unknown": {"SpecInvalid": "not known until the spec is valid", **_DISABLED},
    },
    "ModelsReady": {
        "True": {
            "NoneNamed": "the spec names no model",
            "Found": "a store has every model that the spec names",
        },
        "False": {
            "MakingModels": "a Job makes what is missing",
            **{reason: REFUSALS[reason] for reason in ("ModelsMissing", "ModelJobFailed")},
        },
        "Unknown": {
            "SpecInvalid": "not known until the spec is valid",
            **_STORE_AWAY,
            **_DISABLED,
        },
    },
    "WorkersAvailable": {
        "True": {
            "Available": "pools serve every stage of the project",
            "NotNeeded": "the project has nothing for workers to do",
        },
        "False": {
            "NoPool": "a stage of the project is served by no pool",
            "Unschedulable": "pods of a pool that is needed fit on no node",
            "CrashLooping": "pods of a pool that is needed keep crashing",
        },
        "Unknown": {"NotListed": "the pools have not been listed yet", **_AWAY, **_DISABLED},
    },
    "Throttled": {
        "True": {"SiteLimit": "a site that videos come from makes the project wait"},
        "False": {"NotThrottled": "no site does"},
        "Unknown": {**_AWAY, **_DISABLED},
    },
    "Complete": {
        "True": {
            "AllDone": "everything that the sources give has been mined",
            "TargetReached": "as many images are kept as were asked for",
            "CompleteWithFailures": "all is done that can be; some tasks have failed",
        },
        "False": {
            "InProgress": "there is more to do",
            "Applying": "this generation is not in the catalogue yet",
            "NotApplied": "this generation is refused; Ready says why",
            "Suspended": "the project is suspended",
            "Stalled": "nothing more happens by itself; Stalled says why",
        },
        "Unknown": _DISABLED,
    },
    "Suspended": {
        "True": {"Suspended": "no work is handed out"},
        "False": {"Active": "work is handed out"},
        "Unknown": {**_AWAY, **_DISABLED},
    },
    "Reconciling": {
        "True": {
            "Applying": "this generation is about to be written to the catalogue",
            "MakingModels": "a Job makes a model that the spec names",
            **_AWAY,
            **_STORE_AWAY,
        },
    },
    "Stalled": {"True": {**REFUSALS, **STALLS}},
}
"""Type → status → reason → meaning."""

EVENTS: Final[dict[str, tuple[str, str]]] = {
    "Applied": ("Normal", "a generation was written to the catalogue"),
    "Replanned": ("Normal", "stages changed, and their work was planned anew"),
    "Completed": ("Normal", "the project became complete"),
    "DatasetPublished": ("Normal", "a new version of the dataset is there"),
    "Stalled": ("Warning", "the project gets no further by itself; the note says why"),
    "SpecInvalid": ("Warning", "the spec is refused"),
    "CredentialsMissing": ("Warning", "a credential is missing or not for this namespace"),
    "ModelsMissing": ("Warning", "a model is missing, or could not be made"),
    "MakingModels": ("Normal", "a Job makes a model"),
    "NotOwner": ("Warning", "the project of this name belongs to somebody else"),
    "DatabaseUnreachable": ("Warning", "PostgreSQL cannot be asked any more"),
    "DatabaseReachable": ("Normal", "PostgreSQL answers again"),
    "WorkersUnavailable": ("Warning", "nobody can do some of the work; the note says why"),
    "WorkersAvailable": ("Normal", "all the work can be done again"),
    "Throttled": ("Warning", "a site makes the project wait"),
    "Suspended": ("Normal", "no more work is handed out"),
    "Resumed": ("Normal", "work is handed out again"),
    "Retried": ("Normal", "what had failed was made ready again"),
    "Released": ("Normal", "the object is gone, its data stay"),
    "Forgotten": ("Normal", "the object is gone, and its data go"),
    "Expired": ("Normal", "ttlSecondsAfterFinished is over, and the object was deleted"),
    "ReconciliationDisabled": ("Normal", "the object is left alone from now on"),
    "ReconciliationEnabled": ("Normal", "the object is taken care of again"),
    "InternalError": (
        "Warning",
        "the operator met a defect of its own; it tries again, ever less often",
    ),
}
"""Reason → type, meaning."""
