"""A Bedrock manifest's sums, for models whose rows count nothing."""

from batchmeter.pricing.groups import Group, GroupKey

from .tally import Job, Tally


def filled(tally: Tally, job: Job) -> Tally:
    """Where no row of a job counted and its manifest does, the manifest's sums are the usage of all its rows."""
    sums = tally.manifest
    missing = tally.unmetered.total()
    if sums is None or not missing or tally.groups or not any(sums.values()):
        return tally
    if any(reason != "usage_missing" for _, reason in tally.unmetered):
        return tally
    models = {model for model, _ in tally.unmetered}
    counts = {"input": sums["inputTokenCount"], "output": sums["outputTokenCount"]}
    if len(models) == 1:
        tally.groups[GroupKey(models.pop() or job.model)] = Group(missing, {k: v for k, v in counts.items() if v})
        tally.unmetered.clear()
        tally.notes["usage_from_manifest"] += 1
    return tally
