"""What a slot does for a job: have its model captured, then the captured graph bounded, each by a child of its own.

A capture child runs the model's file, and hands over data: what the file says, and the captured graph. A bounding
child never gets a model's file. So nothing that a program says of itself is taken for a result, and after a program
its capture child is killed, whatever came of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from ..contract.comparison import other_model, second_model
from ..contract.plain import Json
from ..errors import Problem, StorageUnavailable, WorkerProtocol
from ..lipschitz.formats import is_program
from ..refusals import from_slug
from ..store.artifacts import ArtifactKey
from ..store.blobs import Blobs
from ..store.staging import Staged
from .answers import Files
from .artifacts import Artifacts
from .child import Child, Message, ProtocolBroken, size_of
from .child_factory import Role
from .child_holder import ChildHolder
from .execution import Ending, Execution, Over
from .record import JobRecord, Kind
from .states import FAIL, SUCCEED, TIME_OUT
from .talk import about_graph, capture, inspection

EAGER_BYTES = 8 * 2**20
"""Up to here an upload's graph is captured while its child has it."""
LEAST_BUDGET_S = 1e-3
"""Handed on when reading took all of a job's budget."""
EAGER_S = 2.0
"""How long an upload waits for that; what takes longer is left to the first job."""
REFILL_S = 0.05


class Refused(Exception):
    """A child's answer is an error; it is idle again."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.body["detail"])
        self.slug: str = message.body["slug"]
        self.problem = from_slug(**message.body)


class Work:
    """One claimed job. `is_bounding` once a bounding child had to do with it."""

    def __init__(
        self,
        job: JobRecord,
        execution: Execution,
        holders: dict[Role, ChildHolder],
        stores: tuple[Blobs, Blobs, Artifacts],
        max_file_bytes: int,
    ) -> None:
        self.is_bounding = False
        self._begun = time.monotonic()
        self._job = job
        self._execution = execution
        self._holders = holders
        self._models, self._datasets, self._artifacts = stores
        self._max_file_bytes = max_file_bytes

    def run(self) -> Ending:
        """Do it; how it ended."""
        try:
            return self._inspect() if self._job.kind is Kind.INSPECT else self._bound()
        except Over as over:
            return over.ending
        except Refused as refusal:
            return Ending(FAIL, refusal.problem)
        except Problem as problem:
            return Ending(FAIL, problem)
        except OSError as error:
            return Ending(FAIL, StorageUnavailable(f"The job's files cannot be read ({type(error).__name__})."))

    def _inspect(self) -> Ending:
        with ExitStack() as stack:
            model, staged = self._opened(stack, self._job.blob)
            eager = size_of(model) <= EAGER_BYTES
            with self._child("capture", is_program(model)) as child:
                message = self._execution.ask(child, inspection(model, staged.write, captures=eager))
                if message.kind == "artifact":
                    raise Over(_breach("a captured graph came before the inspection"))
                if message.kind == "error":
                    raise self._refusal(child, message)
                if not eager:
                    self._execution.finish(child)
                elif self._has_captured(child):
                    self._artifacts.keep(self._key(None, self._job.model), staged, size_of(model))
            return Ending(SUCCEED, result=message.body)

    def _has_captured(self, child: Child) -> bool:
        """Whether the graph came, soon enough; a child that did not come to its end is killed."""
        message = None
        try:
            message = self._execution.hear(child, EAGER_S)
            if message is not None:
                self._execution.finish(child)
        except Over as over:
            if over.ending.move not in (FAIL, TIME_OUT):
                raise
            message = None
        if message is None:
            self._holders["capture"].empty()
        return message is not None and message.kind == "artifact"

    def _bound(self) -> Ending:
        """Ask about the captured graph, or the two of a comparison; where one that was kept is of no use any more,
        capture it again.
        """
        self._begun = time.monotonic()
        self._execution.note({"phase": "reading"})
        with ExitStack() as stack:
            subjects = [self._subject(stack, model) for model in self._models_asked()]
            try:
                return self._ask_about([artifact for artifact, _ in subjects])
            except Refused as refusal:
                if refusal.slug != "invalid-artifact" or not any(is_kept for _, is_kept in subjects):
                    raise
            return self._ask_about([self._anew(stack, model) for model in self._models_asked()])

    def _models_asked(self) -> list[str]:
        second = other_model(self._job.request)
        return [self._job.model] if second is None else [self._job.model, second]

    def _subject(self, stack: ExitStack, model: str) -> tuple[BinaryIO, bool]:
        """The model's captured graph, and whether it was kept since an earlier job."""
        key = self._key(self._job.request.get("inputs"), model)
        kept = self._artifacts.open(key)
        return stack.enter_context(kept or self._capture(stack, key)), kept is not None

    def _anew(self, stack: ExitStack, model: str) -> BinaryIO:
        key = self._key(self._job.request.get("inputs"), model)
        self._artifacts.drop(key)
        return self._capture(stack, key)

    def _capture(self, stack: ExitStack, key: ArtifactKey) -> BinaryIO:
        """The captured graph, from the model's file."""
        model, staged = self._opened(stack, Blobs.key(key.model))
        with self._child("capture", is_program(model)) as child:
            message = self._execution.ask(child, capture(model, self._job.request.get("inputs"), staged.write))
            if message.kind == "error":
                raise self._refusal(child, message)
            self._execution.finish(child)
        file = stack.enter_context(staged.path.open("rb"))
        self._artifacts.keep(key, staged, size_of(model))
        return file

    def _ask_about(self, artifacts: list[BinaryIO]) -> Ending:
        with ExitStack() as stack:
            files, kept = dict(zip(("artifact", "second"), artifacts, strict=False)), Files()
            kind = "compare" if second_model(self._job.request) else self._job.kind
            if self._job.dataset:
                files["dataset"] = stack.enter_context(self._datasets.open(Blobs.key(self._job.dataset)))
            self.is_bounding = True
            with self._child("bounding", is_program=False) as child:
                asked = after_reading(self._job.request, time.monotonic() - self._begun)
                sinks = kept.sinks(self._max_file_bytes)
                question = about_graph(kind, asked, self._job.model, files, sinks)
                message = self._execution.ask(child, question)
                if message.kind == "error":
                    raise self._refusal(child, message)
                self._execution.finish(child)
                try:
                    answer = kept.answer(message)
                except ProtocolBroken as error:
                    raise Over(_breach(str(error))) from error
            return Ending(SUCCEED, None, answer.result, answer.witness, answer.certificate, answer.radii)

    def _refusal(self, child: Child, message: Message) -> Refused:
        self._execution.finish(child)
        return Refused(message)

    @contextmanager
    def _child(self, role: Role, is_program: bool) -> Iterator[Child]:
        """The child of that role; killed unless it comes to rest, and after every program."""
        holder, is_idle = self._holders[role], False
        try:
            yield self._held_child(holder, role)
            is_idle = not is_program
        except Refused:
            is_idle = not is_program
            raise
        finally:
            if not is_idle:
                holder.empty()

    def _held_child(self, holder: ChildHolder, role: Role) -> Child:
        while True:
            if holder.warm is not None and not holder.warm.may_be(role):
                holder.empty()
            if holder.fill(lambda: not self._execution.is_wanted()) and holder.warm and holder.warm.may_be(role):
                holder.warm.role = role
                return holder.warm.child
            self._execution.tend()
            time.sleep(REFILL_S)

    def _opened(self, stack: ExitStack, blob: str) -> tuple[BinaryIO, Staged]:
        """The model's file, and one for its captured graph."""
        model = stack.enter_context(self._models.open(blob))
        staged = self._artifacts.stage()
        stack.callback(staged.close)
        return model, staged

    def _key(self, inputs: Any, model: str) -> ArtifactKey:
        return self._artifacts.key(self._job.tenant, model, inputs)


def after_reading(request: Json, seconds: float) -> Json:
    """The request with what `seconds` of reading leave of its budget: a quick bound is given whatever is left."""
    if "budget_s" not in request:
        return request
    return request | {"budget_s": max(float(request["budget_s"]) - seconds, LEAST_BUDGET_S)}


def _breach(what: str) -> Ending:
    return Ending(FAIL, WorkerProtocol(f"The process that ran the job was stopped: {what}."))
