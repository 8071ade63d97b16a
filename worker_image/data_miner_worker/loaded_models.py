"""Models that this process holds, and where it finds them.

Loading costs seconds, and a process serves many tasks.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, Final, TypeVar, cast, get_args

from data_miner import telemetry
from data_miner.stage import Context, StageError
from data_miner.storage.store import NO_ROOM, any_failure, named_failures
from data_miner_models import store
from data_miner_models.cache import ModelCache, let_go
from data_miner_models.cards import ModelCard, load_card
from data_miner_models.detector import Detector
from data_miner_models.errors import (
    DamagedError,
    GoneError,
    ModelError,
    NoRoomError,
    PassingError,
    StoreError,
    TooLargeError,
    UnknownModelError,
)
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.providers import Provider
from data_miner_models.text_encoder import TextEncoder
from data_miner_worker.share import SHARE, patient

Model = TypeVar("Model")


class LoadedModels:
    """The models used last, by what they are made of and where they run.

    Args:
        capacity: how many stay loaded.
    """

    def __init__(self, *, capacity: int = 4) -> None:
        self._capacity = capacity
        self._held: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = RLock()

    def image_encoder(self, card: ModelCard, provider: str) -> ImageEncoder:
        """`provider` is a `Provider`. Raises StageError("model_unusable"), as do the others."""
        return self._get(ImageEncoder, card, provider)

    def text_encoder(self, card: ModelCard, provider: str) -> TextEncoder:
        """The side of a model that reads prompts."""
        return self._get(TextEncoder, card, provider)

    def detector(self, card: ModelCard, provider: str, nms_iou: float) -> Detector:
        """A detector that suppresses boxes of one prompt that overlap by more than `nms_iou`."""
        return self._get(open_detector, card, provider, nms_iou=nms_iou)

    def forget(self) -> None:
        """Hold no model any more, but for those that somebody else here holds as well."""
        with self._lock:
            self._held.clear()
        gc.collect()

    def _get(
        self, kind: Callable[..., Model], card: ModelCard, provider: str, **options: Any
    ) -> Model:
        if provider not in get_args(Provider):
            raise StageError(
                "model_unusable",
                f"provider {provider!r}: expected {', '.join(get_args(Provider))}",
                permanent=True,
            )
        key = (kind, card.digest, provider, *sorted(options.items()))
        with self._lock:
            if key not in self._held:
                try:
                    with patient(SHARE) if provider == "tensorrt" else contextlib.nullcontext():
                        self._held[key] = kind(
                            card,
                            threads=SHARE.threads,
                            provider=provider,
                            engines=SHARE.engines,
                            **options,
                        )
                except ModelError as error:
                    raise unusable(error) from error
                if len(self._held) > self._capacity:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            return cast(Model, self._held[key])


_log = telemetry.logger()

MODELS: Final = LoadedModels()
"""The one of this process."""


def find_card(context: Context, name: str, digest: str) -> ModelCard:
    """The card that a recipe names. Its files are here, and stay while the card is held.

    A model that no folder has with this digest comes from the cache, or into it.

    Raises StageError("model_unusable") when there is none, and StageError("model_changed") when it
    has other numbers than the recipe was made for: results would carry the wrong name. While a
    store cannot be asked or there is no room, the classes are those that put a task off.
    """
    stores = context.model_stores
    another: StageError | None = None
    try:
        found = load_card(name, stores.folders)
    except UnknownModelError as error:
        if not stores.uri:
            raise unusable(error) from error
    except ModelError as error:
        raise unusable(error) from error
    else:
        if found.digest == digest:
            return found
        another = _changed(name, str(found.folder), found.digest, digest)
        if not stores.uri:
            raise another
    cache = ModelCache(stores.cache, stores.cache_bytes)
    with named_failures(f"look for model {name} in {stores.cache}"):
        here = cache.find(name, digest)
    return here or _bring(context, cache, name, digest, another)


def unusable(error: ModelError) -> StageError:
    """The failure of whoever cannot use a model: for good, unless it is not the model's.

    A damaged file in the cache is brought again.
    """
    if isinstance(error, DamagedError) and let_go(error):
        return StageError("model_damaged", f"{error}; it is brought again")
    if isinstance(error, GoneError):
        return StageError("provider_gone", f"{error}; the task runs again")
    if isinstance(error, PassingError):
        if isinstance(error.__cause__, OSError):
            full = error.__cause__.errno in NO_ROOM
            return StageError("disk_full" if full else "storage", str(error))
        # A session whose GPU is lost never runs again; a new one says that it is.
        MODELS.forget()
        return StageError("model_failed", str(error))
    return StageError("model_unusable", str(error), permanent=True)


def _bring(
    context: Context, cache: ModelCache, name: str, digest: str, another: StageError | None
) -> ModelCard:
    """`another` is the failure where the store has no model of this name, but a folder has."""
    uri = context.model_stores.uri
    pulling = _Pulling(context, name)
    with _named_failures(f"bring model {name} from {store.shown(uri)}"):
        try:
            card, text = store.card_at(name, uri)
        except StoreError:
            raise
        except UnknownModelError as error:
            raise another or unusable(error) from error
        except ModelError as error:
            raise unusable(error) from error
        if card.digest != digest:
            raise _changed(name, store.shown(uri), card.digest, digest)
        pulling.bytes = sum(file.bytes for file in card.files.values())
        try:
            try:
                here = cache.bring(card, text, uri, pulling.moved, pulling.waiting)
            except NoRoomError:
                # What this process holds from earlier tasks is in use, too.
                MODELS.forget()
                here = cache.bring(card, text, uri, pulling.moved, pulling.waiting)
        except NoRoomError as error:
            _check_together(context, cache, card)
            raise StageError("disk_full", f"{error}; the task runs again") from error
        except StoreError:
            raise
        except ModelError as error:
            too_large = isinstance(error, TooLargeError)
            raise StageError("model_unusable", str(error), permanent=too_large) from error
    pulling.done()
    return here


def _check_together(context: Context, cache: ModelCache, card: ModelCard) -> None:
    """Raise StageError("model_unusable") where what takes the room is what the same task needs
    beside this model: no wait makes room for both."""
    stores = context.model_stores
    needed = {
        (spec["model"], spec["digest"]) for spec in context.assignment.params.get("detectors", ())
    } - {(card.name, card.digest)}
    others = [
        one
        for one in cache.models()
        if (one.name, one.digest) in needed and not _in_folder(context, one.name, one.digest)
    ]
    whole = sum(one.bytes for one in others) + sum(file.bytes for file in card.files.values())
    if others and whole > stores.cache_bytes:
        names = ", ".join(sorted({card.name, *(one.name for one in others)}))
        raise StageError(
            "model_unusable",
            f"models {names} have {whole / 1e6:.1f} MB together, and {stores.cache} may hold "
            f"{stores.cache_bytes / 1e6:.1f} MB: raise DATA_MINER_MODELS_CACHE_GB",
            permanent=True,
        )


def _in_folder(context: Context, name: str, digest: str) -> bool:
    with contextlib.suppress(ModelError):
        return load_card(name, context.model_stores.folders).digest == digest
    return False


class _Pulling:
    """Tells of a model that is on its way, and that the task lives."""

    def __init__(self, context: Context, name: str) -> None:
        self.bytes = 0
        """Of all files together."""
        self._context = context
        self._name = name
        self._here: dict[str, int] = {}
        self._began = time.monotonic()

    def moved(self, path: str, done: int, _whole: int) -> None:
        if not self._here:
            self._began = time.monotonic()
            _log.info("model_pulling", model=self._name, megabytes=round(self.bytes / 1e6, 1))
        self._here[path] = done
        here = sum(self._here.values())
        self._context.tick(
            message=f"model {self._name}: {here / 1e6:.0f} of {self.bytes / 1e6:.0f} MB here"
        )

    def waiting(self) -> None:
        self._context.tick(message=f"model {self._name}: another process brings it")

    def done(self) -> None:
        if self._here:
            seconds = round(time.monotonic() - self._began, 1)
            _log.info("model_pulled", model=self._name, seconds=seconds)
        self._context.tick(message=f"model {self._name} is here")


@contextlib.contextmanager
def _named_failures(what: str) -> Iterator[None]:
    """What a store or a disk says gets the names that tasks have for it."""
    with any_failure(what):
        try:
            yield
        except StoreError as error:
            if isinstance(error.__cause__, Exception):
                raise error.__cause__  # noqa: B904 - its own cause tells whether the store is away
            raise


def _changed(name: str, where: str, found: str, digest: str) -> StageError:
    return StageError(
        "model_changed",
        f"model {name}: the one in {where} has digest {found[:16]}, the project was made for "
        f"{digest[:16]}; apply the project again or put the old model back",
        permanent=True,
    )
