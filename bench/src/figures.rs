//! The table that `make bench` prints.

use std::fmt;

/// What a figure should reach.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Printed for the reader only.
    None,
}

/// One line: what was measured in each round.
#[derive(Debug)]
struct Figure {
    name: String,
    unit: &'static str,
    target: Target,
    rounds: Vec<f64>,
}

/// All figures, in the order of their first measurement.
#[derive(Debug, Default)]
pub struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// Adds one round's value to the figure of that name.
    pub fn add(&mut self, name: &str, unit: &'static str, target: Target, value: f64) {
        if let Some(figure) = self.figures.iter_mut().find(|figure| figure.name == name) {
            figure.rounds.push(value);
        } else {
            self.figures.push(Figure {
                name: name.to_owned(),
                unit,
                target,
                rounds: vec![value],
            });
        }
    }
}

/// The value below which `share` (0 to 1) of the sorted values lie; 0 of none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is between 0 and the length"
    )]
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    sorted.get(rank).copied().unwrap_or(0.0)
}

impl Figure {
    fn median(&self) -> f64 {
        percentile(&self.rounds, 0.5)
    }

    fn verdict(&self) -> &'static str {
        match self.target {
            Target::AtLeast(target) if self.median() < target => "MISSED",
            Target::AtMost(target) if self.median() > target => "MISSED",
            Target::None => "",
            _ => "ok",
        }
    }
}

/// Digits that fit the size: 41,234 and 12.3 and 0.45.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<44} {:>12} {:>12} {:<6}  rounds",
            "figure", "target", "median", ""
        )?;
        for figure in &self.figures {
            let target = match figure.target {
                Target::AtLeast(target) => format!("≥ {}", number(target)),
                Target::AtMost(target) => format!("≤ {}", number(target)),
                Target::None => String::new(),
            };
            let rounds: Vec<String> = figure.rounds.iter().map(|value| number(*value)).collect();
            let name = format!("{}, {}", figure.name, figure.unit);
            let median = number(figure.median());
            writeln!(
                out,
                "{name:<44} {target:>12} {median:>12} {:<6}  {}",
                figure.verdict(),
                rounds.join(" ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert!((percentile(&values, 0.5) - 100.0).abs() < f64::EPSILON);
        assert!((percentile(&values, 0.99) - 198.0).abs() < f64::EPSILON);
        assert!((percentile(&[7.0], 0.99) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_table_judges_the_median_of_the_rounds() {
        let mut table = Table::default();
        for value in [39_000.0, 41_234.0, 45_000.0] {
            table.add("flat list", "records/s", Target::AtLeast(40_000.0), value);
        }
        table.add("memory", "MiB", Target::AtMost(64.0), 80.5);
        let text = table.to_string();
        assert!(text.contains("≥ 40,000       41,234 ok "), "{text}");
        assert!(text.contains("80.5 MISSED"), "{text}");
    }
}
