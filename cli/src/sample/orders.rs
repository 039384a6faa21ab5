//! The made-up data of the sample source: the same orders on every machine, so
//! that what a sync delivers can be compared with what was there.
//!
//! A few ids lie beyond 2^53 and prices end in a zero (`12.10`): a sync that
//! takes numbers through a double shows it at once.

use serde::Serialize;
use serde_json::Number;
use shared::clock::Timestamp;

/// Orders of the sample source.
pub const ORDER_COUNT: u64 = 300;
/// The order whose lines answer 500 once and then work.
pub const FLAKY_ORDER: u64 = 1007;
/// The order whose lines are gone (404).
pub const GONE_ORDER: u64 = 1042;

/// Id of the first order.
const FIRST_ID: u64 = 1001;
/// The first integer that a double can't hold.
const BEYOND_DOUBLES: u64 = 9_007_199_254_740_993;
/// Every order at a multiple of this has an id beyond [`BEYOND_DOUBLES`].
const BIG_ID_EVERY: u64 = 100;
/// Lines of one order at most.
const MAX_LINES: u64 = 5;
/// 2024-05-01T08:00:00Z; the orders were made from then on.
const FIRST_ORDER_AT_MS: i64 = 1_714_550_400_000;
/// Between one order and the next.
const ORDER_INTERVAL_MS: i64 = 37 * 60 * 1000;

const STATES: &[&str] = &["pending", "allocated", "picked", "shipped"];
const BUYERS: &[&str] = &[
    "Ada Moreau",
    "Bilal Chaudhry",
    "Chiara Lindqvist",
    "Đorđe Petrović",
    "Emi Tanaka",
    "Femi Adeyemi",
];
const ARTICLES: &[&str] = &[
    "MUG-BLUE",
    "MUG-RED",
    "TEE-S",
    "TEE-M",
    "TEE-L",
    "POSTER-A2",
    "STICKER-10",
    "TOTE",
];

/// One order as the source serves it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Order {
    pub id: u64,
    pub number: String,
    pub status: &'static str,
    pub buyer: &'static str,
    pub currency: &'static str,
    /// Two decimals, always: `12.10`.
    pub total: Number,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One line of an order as the source serves it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    pub id: u64,
    pub order_id: u64,
    pub sku: &'static str,
    pub quantity: u64,
    /// Two decimals, always.
    pub unit_price: Number,
}

/// All orders, oldest first.
#[must_use]
pub fn all() -> Vec<Order> {
    (0..ORDER_COUNT).map(order).collect()
}

fn order(index: u64) -> Order {
    let id = if index % BIG_ID_EVERY == BIG_ID_EVERY - 1 {
        BEYOND_DOUBLES + index
    } else {
        FIRST_ID + index
    };
    let created_at =
        Timestamp(FIRST_ORDER_AT_MS + i64::try_from(index).unwrap_or(i64::MAX) * ORDER_INTERVAL_MS);
    let cents = lines(id)
        .iter()
        .map(|line| line.quantity * cents_of(line.sku))
        .sum();
    Order {
        id,
        number: format!("SO-{:05}", index + 1),
        status: pick(STATES, mix(id)),
        buyer: pick(BUYERS, mix(id) >> 8),
        currency: "EUR",
        total: price(cents),
        created_at,
        updated_at: created_at,
    }
}

/// The lines of order `id`: one to five, the same each time.
#[must_use]
pub fn lines(id: u64) -> Vec<Line> {
    let count = 1 + mix(id) % MAX_LINES;
    (1..=count)
        .map(|position| {
            let seed = mix(id ^ position.rotate_left(32));
            let sku = pick(ARTICLES, seed);
            Line {
                id: id * 10 + position,
                order_id: id,
                sku,
                quantity: 1 + (seed >> 16) % 4,
                unit_price: price(cents_of(sku)),
            }
        })
        .collect()
}

/// What an article costs; always a multiple of ten cents, so that every price ends in a zero.
fn cents_of(sku: &str) -> u64 {
    210 + sku.bytes().map(u64::from).sum::<u64>() * 10
}

fn price(cents: u64) -> Number {
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    text.parse().unwrap_or_else(|_| Number::from(cents / 100))
}

fn pick(words: &'static [&'static str], seed: u64) -> &'static str {
    let len = u64::try_from(words.len()).unwrap_or(1);
    usize::try_from(seed % len).map_or("", |index| words[index])
}

/// The `SplitMix64` finaliser: spreads neighbouring ids over all 64 bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn orders_are_the_same_each_time_with_ids_of_their_own() {
        assert_eq!(all(), all());
        let ids: BTreeSet<_> = all().iter().map(|order| order.id).collect();
        assert_eq!(ids.len(), 300);
        assert!(ids.contains(&FLAKY_ORDER) && ids.contains(&GONE_ORDER));
        let line_ids: BTreeSet<_> = all()
            .iter()
            .flat_map(|order| lines(order.id))
            .map(|line| line.id)
            .collect();
        assert_eq!(
            line_ids.len(),
            all()
                .iter()
                .map(|order| lines(order.id).len())
                .sum::<usize>()
        );
    }

    #[test]
    fn a_few_ids_do_not_fit_a_double_and_prices_keep_their_last_zero() {
        let text = serde_json::to_string(&all()).expect("JSON");
        assert!(
            text.contains(r#""id":9007199254741092,"#),
            "ids beyond 2^53"
        );
        let price = text
            .split(r#""total":"#)
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .expect("a price");
        assert!(price.ends_with('0') && price.contains('.'), "{price}");
    }

    #[test]
    fn every_order_has_one_to_five_lines_that_add_up_to_its_total() {
        for order in all() {
            let lines = lines(order.id);
            assert!((1..=5).contains(&lines.len()));
            let cents: u64 = lines
                .iter()
                .map(|line| line.quantity * cents_of(line.sku))
                .sum();
            assert_eq!(order.total, price(cents));
        }
    }
}
