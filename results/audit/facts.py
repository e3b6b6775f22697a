"""What was measured of an endpoint beside its answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EndpointFacts(BaseModel):
    """Requests, their latency and the steadiness of the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url: str
    """Without its query."""

    num_requests: int = Field(gt=0)
    """That were answered, those of the sample that is sent again left out."""

    images_per_request: int = Field(gt=0)
    """The most in one request."""

    concurrency: int = Field(gt=0)
    """Requests that may have been under way at once."""

    latency_p50_ms: float
    """Of a request, from sending it to the last byte of its answer; tries that failed are left out."""

    latency_p95_ms: float
    latency_p99_ms: float
    latency_single_p50_ms: float | None
    """Of a request with one image; None where no image was sent again."""

    failures: dict[str, int]
    """How many tries were not answered, by reason; each was tried again."""

    num_images_answered: int
    """Images that a bill is for: those sent again are counted twice, those not answered not at all."""

    num_again: int
    """Images that were sent a second time, each alone."""

    num_changed: int
    """Of these, how many got another class."""

    def warnings(self) -> tuple[str, ...]:
        """What makes the answers less trustworthy than they look; nothing where all is well."""
        if not self.num_changed:
            return ()
        return (
            f"{self.num_changed:,} of {self.num_again:,} images got another class when they were sent again, "
            "each alone: the endpoint is not steady, or answers batches in the wrong order, so that its "
            "accuracy may be another than was measured",
        )
