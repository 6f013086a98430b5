"""One process of many that submit against one budget until it is killed or done: `budgets_worker.py LEDGER SEED`."""

import asyncio
import os
import random
import sys
from decimal import Decimal

from budgets_world import World, est

from batchmeter.errors import BudgetExceededError
from batchmeter.ledger import open_ledger

LIMIT = "20"
ROUNDS = 8


async def main(url: str, seed: int) -> None:
    chance = random.Random(seed)
    ledger = open_ledger(url)
    await ledger.open()
    world = await World(ledger, None).open(
        shared={"limit": LIMIT, "reserve": "upper", "period": "total"}, each={"limit": "6", "scope": {"team": "*"}}
    )
    for number in range(ROUNDS):
        sys.stdout.write(f"round {number}\n")
        sys.stdout.flush()
        await once(world, chance, f"{seed}-{number}")
    await world.close()
    await ledger.aclose()


async def once(world: World, chance: random.Random, name: str) -> None:
    """A batch's life: refused, given up, sent and left, or ended with a cost known, in part or not at all."""
    amount = Decimal(chance.randrange(1, 3000)) / 1000
    try:
        planned = await world.reserve(est(str(amount)), name=name, team=chance.choice("abc"))
    except BudgetExceededError:
        return
    fate = chance.random()
    if fate < 0.2:
        await world.budgets.submit_dropped(planned, "refused")
        return
    batch = await world.send(planned, id=f"batch-{name}")
    if fate > 0.4:
        known = str(amount * Decimal(chance.randrange(100)) / 100)
        await world.end(batch, known if fate < 0.8 else None, known=known)


if __name__ == "__main__":
    os.environ.setdefault("BATCHMETER_PLUGINS", "")
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
