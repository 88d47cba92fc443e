"""How many of something happened in how many seconds, and what it cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of something happened in how many seconds."""

    count: int
    seconds: float
    cpu_seconds: float = 0.0

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(
            self.count + other.count,
            self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
        )

    @property
    def per_second(self) -> float:
        """The rate."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each."""
        return self.cpu_seconds / self.count * 1e6
