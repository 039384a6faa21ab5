"""Asks the Python package croniter when cron expressions fire.

    python3 -m venv /tmp/croniter && /tmp/croniter/bin/pip install croniter==7.0.0 tzdata==2026.6
    PYTHONTZPATH= /tmp/croniter/bin/python record.py > recorded.json

Writes `{"croniter": …, "tzdata": …, "cases": [{"expression", "timezone", "after", "fires", …}]}`, the same on every
run. `fires` are the next instants after `after`; none when the expression never fires. The cases are random, and most of
those in a zone begin near a change of its clock.

In UTC, `fires` is what croniter says. In other zones croniter says which wall clock times an expression fires at (it is
asked without a zone), Python's zoneinfo says which instants those are, and the rule for daylight saving between the two
is that of `shared/src/cron/mod.rs`:

- minute or hour `*`, `*/n` or all values: at every instant that shows such a time, so twice where the clock goes back;
- every other one: at the first of two such instants, and at the first instant after a gap that holds such a time.

croniter, asked with the zone, mostly says the same; where it does not, the case has its answer as `croniter`. It knows no
difference between the two kinds, so it makes up for a gap once and fires at both of two instants, whatever the expression.
"""

import datetime as dt
import importlib.metadata
import json
import random
import sys
import zoneinfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError

UTC = dt.timezone.utc
FIRES = 4
UTC_CASES = 400
ZONE_CASES = 600
FIRST, LAST = dt.datetime(2005, 1, 1), dt.datetime(2026, 1, 1)
ZONES = [
    'Europe/Berlin', 'Europe/London', 'America/New_York', 'America/St_Johns', 'America/Santiago', 'America/Sao_Paulo',
    'Africa/Cairo', 'Africa/Casablanca', 'Asia/Beirut', 'Asia/Kathmandu', 'Asia/Kolkata', 'Asia/Tehran',
    'Atlantic/Azores', 'Australia/Lord_Howe', 'Pacific/Apia', 'Pacific/Auckland', 'Pacific/Chatham', 'America/Nuuk',
]
MONTHS = 'JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC'.split()
DAYS = 'SUN MON TUE WED THU FRI SAT'.split()

# Random expressions fire often; these hardly or never.
RARE = [
    '0 0 29 2 *', '0 0 31 */5 *', '0 0 30 2 MON', '0 0 29 FEB 7', '0 0 31 12 *',
    '0 0 30 2 *', '0 0 31 2,4,6,9,11 *', '* * 30-31 FEB *', '0 0 31 4-6/2 *',
]

rng = random.Random(5)


def field(low, high, names=None, star=0.4):
    """One random field, of the grammar that `shared/src/cron/expression.rs` has."""
    def value(number):
        return names[number - low] if names and number - low < len(names) and rng.random() < 0.3 else str(number)

    def element():
        kind = rng.random()
        if kind < 0.55:
            return value(rng.randint(low, high))
        start = rng.randint(low, high - 1)
        end = rng.randint(start + 1, high)
        step = f'/{rng.randint(1, end - start + 1)}' if kind > 0.8 else ''
        return f'{value(start)}-{value(end)}{step}'

    kind = rng.random()
    if kind < star:
        return '*'
    if kind < star + 0.15:
        return f'*/{rng.randint(2, max(2, (high - low) // 2))}'
    return ','.join(element() for _ in range(rng.choice([1, 1, 1, 2, 3])))


def expression(near_change):
    # Near a change of the clock, what fires once a month says nothing.
    rare = 0.9 if near_change else 0.5
    while True:
        minute, hour = field(0, 59, star=0.15), field(0, 3 if near_change else 23, star=0.25)
        day, month, weekday = field(1, 31, star=rare), field(1, 12, MONTHS, star=0.7), field(0, 7, DAYS, star=rare)
        # Syncline refuses these: there is no agreement about what they mean.
        ambiguous = '*' not in (day, weekday) and '*' in day + weekday
        if not ambiguous:
            return ' '.join([minute, hour, day, month, weekday])


def fixed(text):
    minute, hour = text.split()[:2]
    expanded = croniter.expand(text)[0]
    return not ('*' in minute + hour or len(set(expanded[0])) == 60 or len(set(expanded[1])) == 24
                or expanded[0] == ['*'] or expanded[1] == ['*'])


def instants(wall, zone, is_fixed):
    """The instants at which a schedule fires for a wall clock time."""
    candidates = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    real = sorted({c for c in candidates if c.astimezone(zone).replace(tzinfo=None) == wall})
    if real:
        return real[:1] if is_fixed else real
    if not is_fixed:
        return []
    # In a gap: its end lies between the two readings of the time. Find it to the second.
    before, after = sorted(candidates)
    old = before.astimezone(zone).utcoffset()
    while after - before > dt.timedelta(seconds=1):
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return [after]


def by_rule(text, zone, after):
    is_fixed = fixed(text)
    # A day earlier, for the wall clock may have been a day behind.
    walls = croniter(text, after.astimezone(zone).replace(tzinfo=None) - dt.timedelta(hours=26))
    found = set()
    while True:
        wall = walls.get_next(dt.datetime)
        found.update(instant for instant in instants(wall, zone, is_fixed) if instant > after)
        first = sorted(found)[:FIRES]
        # Times come back by three hours at most, so nothing earlier can follow.
        if len(first) == FIRES and wall > first[-1].astimezone(zone).replace(tzinfo=None) + dt.timedelta(hours=3):
            return first


def by_croniter(text, zone, after):
    fires = croniter(text, after.astimezone(zone))
    return [fires.get_next(dt.datetime).astimezone(UTC) for _ in range(FIRES)]


def changes(zone):
    """The hours in which the zone's clock is changed."""
    hour, offset, found = FIRST.replace(tzinfo=UTC), None, []
    while hour < LAST.replace(tzinfo=UTC):
        now = hour.astimezone(zone).utcoffset()
        if offset is not None and now != offset:
            found.append(hour)
        offset, hour = now, hour + dt.timedelta(hours=1)
    return found


def text(instants):
    return [instant.strftime('%Y-%m-%dT%H:%M:%SZ') for instant in instants]


def random_start():
    span = int((LAST - FIRST).total_seconds())
    return FIRST.replace(tzinfo=UTC) + dt.timedelta(seconds=rng.randrange(span))


def cases():
    before_a_gap = dt.datetime(2096, 3, 1, tzinfo=UTC)
    hardly = [(asked, after) for asked in RARE for after in (random_start(), before_a_gap)]
    for asked, after in hardly + [(expression(False), random_start()) for _ in range(UTC_CASES)]:
        try:
            fires = by_croniter(asked, UTC, after)
        except CroniterBadDateError:
            fires = []
        yield {'expression': asked, 'timezone': 'UTC', 'after': text([after])[0], 'fires': text(fires)}
    known = {name: (zoneinfo.ZoneInfo(name), changes(zoneinfo.ZoneInfo(name))) for name in ZONES}
    for index in range(ZONE_CASES):
        name = ZONES[index % len(ZONES)]
        zone, moments = known[name]
        near_change = bool(moments) and rng.random() < 0.75
        asked, after = expression(near_change), random_start()
        if near_change:
            after = rng.choice(moments) + dt.timedelta(minutes=rng.randint(-5 * 60, 90))
        case = {'expression': asked, 'timezone': name, 'after': text([after])[0]}
        try:
            case['fires'] = text(by_rule(asked, zone, after))
            with_zone = text(by_croniter(asked, zone, after))
            if with_zone != case['fires']:
                case['croniter'] = with_zone
        except CroniterBadDateError:
            case['fires'] = []
        yield case


recorded = list(cases())
differing = sum('croniter' in case for case in recorded)
print(f'{len(recorded)} cases, croniter differs in {differing}', file=sys.stderr)
lines = ',\n'.join(json.dumps(case) for case in recorded)
versions = {name: importlib.metadata.version(name) for name in ('croniter', 'tzdata')}
print(f'{json.dumps(versions)[:-1]}, "cases": [\n{lines}\n]}}')
