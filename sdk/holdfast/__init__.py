"""Durable execution for Python: functions that survive crashes."""

from holdfast.client import Resonate
from holdfast.codec import Codec, Encryptor, register_error
from holdfast.commands import DurableFuture
from holdfast.context import Context
from holdfast.errors import (
    AlreadyRegistered,
    ClientCallInWorkflow,
    DecodeError,
    EncodeError,
    FunctionNotRegistered,
    IdempotencyConflict,
    InvalidVersion,
    NonDeterminism,
    NonDurableAwait,
    Panic,
    PermissionDenied,
    PromiseCanceled,
    PromiseNotFound,
    PromiseTimedOut,
    RemoteError,
    ResonateError,
    ScheduleNotFound,
    ServerUnavailable,
    Unauthenticated,
)
from holdfast.handle import Handle
from holdfast.options import Options
from holdfast.promises import DurablePromise
from holdfast.retry import Constant, Exponential, Linear, Never, RetryPolicy
from holdfast.schedules import DurableSchedule

__all__ = [
    "AlreadyRegistered",
    "ClientCallInWorkflow",
    "Codec",
    "Constant",
    "Context",
    "DecodeError",
    "DurableFuture",
    "DurablePromise",
    "DurableSchedule",
    "EncodeError",
    "Encryptor",
    "Exponential",
    "FunctionNotRegistered",
    "Handle",
    "IdempotencyConflict",
    "InvalidVersion",
    "Linear",
    "Never",
    "NonDeterminism",
    "NonDurableAwait",
    "Options",
    "Panic",
    "PermissionDenied",
    "PromiseCanceled",
    "PromiseNotFound",
    "PromiseTimedOut",
    "RemoteError",
    "Resonate",
    "ResonateError",
    "RetryPolicy",
    "ScheduleNotFound",
    "ServerUnavailable",
    "Unauthenticated",
    "register_error",
]
