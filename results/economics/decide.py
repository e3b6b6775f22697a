"""Build or buy, by cost: both sides at the central figures, where it turns, and how sure that is.

appraisal = appraise(build, buy, load_assumptions(), seed=0)
appraisal.difference_usd            # above 0: building is cheaper
appraisal.monte_carlo.probability_build_cheaper
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError
from results.economics.assumptions import Assumptions
from results.economics.break_even import BreakEven, break_even_gap, break_even_of, break_even_volume
from results.economics.cash_flow import Flows, present_cost, total, yearly_costs
from results.economics.compute_cost import Values, basis_words
from results.economics.facts import BuildFacts, BuyFacts
from results.economics.keys import BUY_ACCURACY
from results.economics.sensitivity import Sensitivity, tornado
from results.economics.uncertainty import NUM_DRAWS, MonteCarlo, central_values, draw_values, monte_carlo

PRICE = "vendor_usd_per_1000_images"


@dataclass(frozen=True)
class Component:
    """One kind of cost of one side, in USD."""

    name: str
    present_cost_usd: float
    yearly_usd: tuple[float, ...]
    """Year 0 first, not discounted."""


@dataclass(frozen=True)
class SideCost:
    """What one side costs at the central figures, in USD."""

    components: tuple[Component, ...]
    present_cost_usd: float
    yearly_usd: tuple[float, ...]
    """All components, year 0 first, not discounted."""

    @property
    def npv_usd(self) -> float:
        """Net present value: costs count as negative."""
        return -self.present_cost_usd


@dataclass(frozen=True)
class Appraisal:
    """Everything that the costs say about building against buying."""

    build: BuildFacts
    buy: BuyFacts
    assumptions: Assumptions
    build_cost: SideCost
    buy_cost: SideCost
    difference_usd: float
    """Present cost of buying less that of building: above 0, building is cheaper."""

    cheaper: Literal["build", "buy"]
    monte_carlo: MonteCarlo
    is_settled: bool
    """Whether the 95% interval of the difference leaves 0 out, on the side of the central figures."""

    is_contradicted: bool
    """Whether it leaves 0 out on the other side."""

    break_even_volume: BreakEven
    break_even_gap: BreakEven
    """Of our accuracy above the vendor's, while that stays."""

    break_even_vendor_percent: BreakEven
    """Of the vendor's accuracy, while ours stays."""

    break_even_error_usd: BreakEven
    sensitivities: tuple[Sensitivity, ...]
    """The figure that moves the difference most first."""

    caveats: tuple[str, ...]

    @property
    def flips(self) -> tuple[Sensitivity, ...]:
        """Figures that alone turn the decision within their range, the one that moves most first."""
        return tuple(row for row in self.sensitivities if row.flips_in_range)


def appraise(build: BuildFacts, buy: BuyFacts, assumptions: Assumptions, seed: int = 0) -> Appraisal:
    """Compare the costs of building and buying.

    Args:
        build: the run that building starts from.
        buy: the vendor; a price that it has stated takes the place of the assumed one, not of a user's.
        assumptions: everything else.
        seed: of the Monte Carlo draws; the same seed gives the same figures.

    Raises:
        UsageError: the vendor's price cannot be one, or it was audited on other images than the run.
    """
    _check_same_images(build, buy)
    if buy.price_per_1000_images_usd is not None and PRICE not in assumptions.given:
        assumptions = assumptions.known(PRICE, buy.price_per_1000_images_usd, f"stated by {buy.name}")
    values = central_values(build, buy, assumptions)
    costs = yearly_costs(build, values)
    build_cost, buy_cost = _side_cost(costs.build, values), _side_cost(costs.buy, values)
    difference = buy_cost.present_cost_usd - build_cost.present_cost_usd
    drawn = draw_values(build, buy, assumptions, NUM_DRAWS, seed)
    simulated = monte_carlo(build, drawn, NUM_DRAWS, seed)
    draws_agree, draws_differ = simulated.low_usd > 0, simulated.high_usd < 0
    if difference <= 0:
        draws_agree, draws_differ = draws_differ, draws_agree
    return Appraisal(
        build=build,
        buy=buy,
        assumptions=assumptions,
        build_cost=build_cost,
        buy_cost=buy_cost,
        difference_usd=difference,
        cheaper="build" if difference > 0 else "buy",
        monte_carlo=simulated,
        is_settled=draws_agree,
        is_contradicted=draws_differ,
        break_even_volume=break_even_volume(build, values),
        break_even_gap=break_even_gap(build, values),
        break_even_vendor_percent=break_even_of(build, values, BUY_ACCURACY, "% accuracy of the vendor"),
        break_even_error_usd=break_even_of(build, values, "cost_per_error_usd", "USD per error that matters"),
        sensitivities=tornado(build, buy, assumptions),
        caveats=_caveats(build, buy, assumptions),
    )


def _check_same_images(build: BuildFacts, buy: BuyFacts) -> None:
    asked, ours = buy.test_fingerprint, build.test_fingerprint
    if asked is not None and ours is not None and asked != ours:
        raise UsageError(
            f"the audit of {buy.name} is about other images than the run {build.cell_id or build.name}: "
            "audit the vendor on the test images of the runs"
        )


def _side_cost(flows: Flows, values: Values) -> SideCost:
    present = present_cost(flows, values)
    return SideCost(
        components=tuple(
            Component(name, float(present[name][0]), tuple(flow[:, 0].tolist()))
            for name, flow in flows.items()
        ),
        present_cost_usd=sum(float(usd[0]) for usd in present.values()),
        yearly_usd=tuple(total(flows)[:, 0].tolist()),
    )


def _caveats(build: BuildFacts, buy: BuyFacts, assumptions: Assumptions) -> tuple[str, ...]:
    lines = [
        f"Our accuracy comes from {build.images}. Such images are a proxy: on the buyer's own, either side "
        "may do worse. Measure both on those before signing anything."
    ]
    if not buy.is_measured:
        lines.append(
            f"{buy.name}'s accuracy is a claim that nobody has verified. No error is drawn for it, so that "
            "the interval is too narrow: an audit would say."
        )
    elif buy.test_fingerprint is None or build.test_fingerprint is None:
        lines.append(f"It is not known that {buy.name} was measured on the same test images as our run.")
    stated = buy.price_per_1000_images_usd
    if PRICE in assumptions.given and stated is not None:
        lines.append(
            f"{buy.name} states a price of {stated:g} USD per 1,000 images: your own setting of {PRICE}, "
            f"{assumptions[PRICE].value:g}, has replaced it."
        )
    elif stated is None and PRICE not in assumptions.given:
        lines.append(f"{buy.name} discloses no price: that of comparable public services is assumed.")
    num_assumed = sum(entry.source is None for entry in assumptions.values())
    lines.append(
        f"{num_assumed} of the {len(assumptions)} figures have no source and are assumptions; what an error "
        "costs and how many images there are is the buyer's to say."
    )
    lines.append(f"Compute: {basis_words(build)}.")
    return tuple(lines)
