//! What a user sees of expressions: results, exact numbers, bounds, faults.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{EvaluationError, Expression, ExpressionFault, MAX_TIME};

fn compiled(source: &str) -> Expression {
    Expression::compile(source).unwrap_or_else(|fault| panic!("{source} {fault}"))
}

/// Far more than a bound that isn't the time needs, however slow the machine.
const LATE: Duration = Duration::from_secs(30);

fn evaluated(source: &str, input: &Value) -> Option<Value> {
    compiled(source)
        .evaluate_within(input, LATE)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn fault(source: &str) -> ExpressionFault {
    Expression::compile(source).expect_err("must not compile")
}

fn failure(source: &str, input: &Value) -> EvaluationError {
    compiled(source)
        .evaluate(input)
        .expect_err("must not evaluate")
}

/// The result as JSON text, in which the digits of numbers show.
fn shown(source: &str, input: &str) -> String {
    let input = serde_json::from_str(input).expect("JSON");
    evaluated(source, &input).map_or_else(|| "undefined".to_owned(), |value| value.to_string())
}

fn order() -> Value {
    json!({
        "id": 12, "state": "open", "tags": ["a", "b"], "empty": [], "nothing": null,
        "customer": {"first": "Ada", "last": "Byron"},
        "lines": [
            {"sku": "x", "qty": 3, "price": 2.5},
            {"sku": "y", "qty": 1, "price": 10},
            {"sku": "z", "qty": 2, "price": 0.1}
        ]
    })
}

mod language {
    use super::*;

    #[test]
    fn samples_of_the_language_give_what_the_reference_gives() {
        for (source, expected) in [
            ("id", json!(12)),
            ("lines.sku", json!(["x", "y", "z"])),
            ("lines[0].sku", json!("x")),
            ("lines[-1].sku", json!("z")),
            ("lines[qty > 1].sku", json!(["x", "z"])),
            ("lines[sku = 'y'].price", json!(10)),
            ("lines[sku = 'y'].[price]", json!([10])),
            ("lines.sku[]", json!(["x", "y", "z"])),
            ("lines[sku='x'].sku[]", json!(["x"])),
            ("$sum(lines.(qty * price))", json!(17.7)),
            ("lines^(>price).sku", json!(["y", "x", "z"])),
            ("lines{sku: qty}", json!({"x": 3, "y": 1, "z": 2})),
            ("(lines.{'s': sku, 'n': qty})[0]", json!({"s": "x", "n": 3})),
            ("customer.(first & ' ' & last)", json!("Ada Byron")),
            ("customer.*", json!(["Ada", "Byron"])),
            ("**.sku", json!(["x", "y", "z"])),
            (
                "$map(lines, function($l, $i) { $l.sku & $i })",
                json!(["x0", "y1", "z2"]),
            ),
            (
                "$filter(lines, function($l) { $l.qty = 1 }).sku",
                json!("y"),
            ),
            ("$reduce(lines.qty, function($a, $b) { $a + $b })", json!(6)),
            (
                "$reduce([1..5], function($a, $b) { $a * $b }, 2)",
                json!(240),
            ),
            ("lines.sku ~> $join('-')", json!("x-y-z")),
            ("(lines.sku ~> $join('-')) ~> $uppercase()", json!("X-Y-Z")),
            ("lines ~> $map(function($l) { $l.qty })", json!([3, 1, 2])),
            ("lines ~> $map(function($l) { $l.qty })[0]", json!(3)),
            ("($twice := $uppercase ~> $length; $twice('ab'))", json!(2)),
            ("state.$uppercase()", json!("OPEN")),
            ("id.$string()", json!("12")),
            ("tags.$string()", json!(["a", "b"])),
            (
                "$string(lines[0])",
                json!("{\"sku\":\"x\",\"qty\":3,\"price\":2.5}"),
            ),
            ("$map(tags, $uppercase)", json!(["A", "B"])),
            ("$map([1, 2], $string)", json!(["1", "2"])),
            ("state = 'open' and id > 5", json!(true)),
            ("id in [11, 12]", json!(true)),
            ("[1..3]", json!([1, 2, 3])),
            ("[[1, 2], [3]]", json!([[1, 2], [3]])),
            (
                "{'a': [tags, 'c'], 'b': [[tags]]}",
                json!({"a": ["a", "b", "c"], "b": [["a", "b"]]}),
            ),
            (
                "($f := function($n) { $n < 2 ? 1 : $n * $f($n - 1) }; $f(10))",
                json!(3_628_800),
            ),
            (
                "lines@$l.tags@$t.($l.sku & $t)",
                json!(["xa", "xb", "ya", "yb", "za", "zb"]),
            ),
            ("lines#$i.(sku & $i)", json!(["x0", "y1", "z2"])),
            ("lines.sku.%.qty", json!([3, 1, 2])),
            (
                "$ ~> |customer|{'first': 'A'}, ['last']| ~> $lookup('customer')",
                json!({"first": "A"}),
            ),
            ("$replace('abcabc', 'b', 'x')", json!("axcaxc")),
            ("$replace('abcabc', 'b', 'x', 1)", json!("axcabc")),
            (
                "$replace('john smith', /(\\w+)\\s(\\w+)/, '$2, $1')",
                json!("smith, john"),
            ),
            (
                "$replace('a1b2', /\\d/, function($m) { '<' & $m.match & '>' })",
                json!("a<1>b<2>"),
            ),
            ("state.$replace('o', '0')", json!("0pen")),
            ("$contains(state, /P/i)", json!(true)),
            ("$split('a,b;c', /[,;]/)", json!(["a", "b", "c"])),
            ("$match('ab12', /[0-9]/).match", json!(["1", "2"])),
            ("$pad('x', -3, '0')", json!("00x")),
            ("$distinct([1, 2, 1, '1'])", json!([1, 2, "1"])),
            ("$count($distinct([[1..100], [1..100]].($)))", json!(100)),
            ("$sort([3, 1, 2])", json!([1, 2, 3])),
            ("$merge([{'a': 1}, {'b': 2}])", json!({"a": 1, "b": 2})),
            (
                "$each(customer, function($v, $k) { $k & '=' & $v })",
                json!(["first=Ada", "last=Byron"]),
            ),
            (
                "$sift(customer, function($v) { $v = 'Ada' })",
                json!({"first": "Ada"}),
            ),
            ("$zip([1, 2], [3, 4])", json!([[1, 3], [2, 4]])),
            ("$fromMillis(0, '[Y0001]-[M01]-[D01]')", json!("1970-01-01")),
            ("$toMillis('1970-01-01T00:00:01Z')", json!(1000)),
            ("$formatNumber(1234.5, '#,##0.00')", json!("1,234.50")),
            ("$number('0x1F')", json!(31)),
            ("nothing ?? 'x'", json!(null)),
            ("missing ?? 'x'", json!("x")),
            ("empty ?: 'x'", json!("x")),
            ("$exists(nothing)", json!(true)),
            ("$type(lines)", json!("array")),
            ("0.1 + 0.2", json!(0.300_000_000_000_000_04)),
            ("1e20", json!(1e20)),
        ] {
            let result = evaluated(source, &order());
            let expected = if expected.is_null() && !source.contains("nothing") {
                None
            } else {
                Some(expected)
            };
            assert_eq!(result, expected, "{source}");
        }
    }

    #[test]
    fn what_isn_t_there_and_functions_are_nothing() {
        assert_eq!(evaluated("missing.field", &order()), None);
        assert_eq!(evaluated("$map([], $string)", &order()), None);
        assert_eq!(evaluated("function($x) { $x }", &order()), None);
        assert_eq!(
            evaluated("{'f': function($x) { $x }, 'm': missing}", &order()),
            Some(json!({}))
        );
    }

    #[test]
    fn an_input_of_any_kind_is_taken() {
        assert_eq!(evaluated("$ + 1", &json!(1)), Some(json!(2)));
        assert_eq!(evaluated("$[0]", &json!([5, 6])), Some(json!(5)));
        assert_eq!(evaluated("$", &json!([])), Some(json!([])));
        assert_eq!(evaluated("$", &Value::Null), Some(Value::Null));
    }

    #[test]
    fn a_variable_may_have_the_name_of_a_function() {
        for (source, expected) in [
            ("($count := $count(lines); $count + 1)", json!(4)),
            (
                "($string := function($x) { 'own' }; $string(1))",
                json!("own"),
            ),
            (
                "(function($join) { $join('a') })(function($x) { $x & '!' })",
                json!("a!"),
            ),
        ] {
            assert_eq!(evaluated(source, &order()), Some(expected), "{source}");
        }
    }

    #[test]
    fn truth_is_that_of_boolean() {
        for (source, expected) in [
            ("missing", false),
            ("nothing", false),
            ("0", false),
            ("''", false),
            ("[]", false),
            ("{}", false),
            ("[0, '']", false),
            ("[[], [0, [1]]]", true),
            ("'false'", true),
            ("-1", true),
            ("customer", true),
            ("$boolean", false),
        ] {
            let found = compiled(source).is_true(&order()).expect("evaluates");
            assert_eq!(found, expected, "{source}");
            if source != "$boolean" {
                let own = evaluated(&format!("$boolean({source})"), &order());
                assert_eq!(own.unwrap_or(json!(false)), json!(expected), "{source}");
            }
        }
    }
}

mod exact_numbers {
    use super::*;

    const ROW: &str = r#"{"id": 9007199254740993, "next": 9007199254740992, "after": 9007199254740994,
        "rate": 0.1000000000000000055511151231257827, "huge": 1e400, "qty": 3,
        "lines": [{"id": 9007199254740995}, {"id": 9007199254740993}, {"id": 9007199254740994}]}"#;

    #[test]
    fn numbers_that_are_carried_over_keep_their_digits() {
        for (source, expected) in [
            ("id", "9007199254740993"),
            ("rate", "0.1000000000000000055511151231257827"),
            (
                "{'a': id, 'b': next, 'c': after}",
                r#"{"a":9007199254740993,"b":9007199254740992,"c":9007199254740994}"#,
            ),
            (
                "{'a': [id, rate], 'b': {'c': huge}}",
                r#"{"a":[9007199254740993,0.1000000000000000055511151231257827],"b":{"c":1e+400}}"#,
            ),
            (
                "lines.id",
                "[9007199254740995,9007199254740993,9007199254740994]",
            ),
            (
                "$map(lines, function($l) { $l.id })",
                "[9007199254740995,9007199254740993,9007199254740994]",
            ),
            ("lines[id > 9007199254740994].id", "9007199254740995"),
            ("($x := id; {'x': $x})", r#"{"x":9007199254740993}"#),
            ("qty > 2 ? id : 0", "9007199254740993"),
            (
                "$merge([lines[0], {'n': id}])",
                r#"{"id":9007199254740995,"n":9007199254740993}"#,
            ),
            ("$append(id, next)", "[9007199254740993,9007199254740992]"),
            (
                "$distinct([id, next, id])",
                "[9007199254740993,9007199254740992]",
            ),
            ("missing ?? id", "9007199254740993"),
            ("$ ~> |$|{'qty': id}| ~> $lookup('qty')", "9007199254740993"),
            (
                "lines^(id).id",
                "[9007199254740993,9007199254740994,9007199254740995]",
            ),
            (
                "$sort(lines.id)",
                "[9007199254740993,9007199254740994,9007199254740995]",
            ),
            (
                "$sort(lines, function($a, $b) { $a.id < $b.id }).id",
                "[9007199254740995,9007199254740994,9007199254740993]",
            ),
            ("$firstNonEmpty(missing, id)", "9007199254740993"),
            (
                "$pick($, ['id', 'next'])",
                r#"{"id":9007199254740993,"next":9007199254740992}"#,
            ),
        ] {
            assert_eq!(shown(source, ROW), expected, "{source}");
        }
    }

    #[test]
    fn numbers_that_become_text_keep_their_digits() {
        for (source, expected) in [
            ("$string(id)", r#""9007199254740993""#),
            ("id.$string()", r#""9007199254740993""#),
            ("id ~> $string()", r#""9007199254740993""#),
            ("id ~> $string", r#""9007199254740993""#),
            ("$string(rate)", r#""0.1000000000000000055511151231257827""#),
            (
                "'#' & id & '/' & next",
                r##""#9007199254740993/9007199254740992""##,
            ),
            (
                "$map(lines.id, $string)",
                r#"["9007199254740995","9007199254740993","9007199254740994"]"#,
            ),
            (
                "$string({'a': id, 'b': '\"'})",
                r#""{\"a\":9007199254740993,\"b\":\"\\\"\"}""#,
            ),
            ("{$string(id): 1}", r#"{"9007199254740993":1}"#),
            ("$length($string(id))", "16"),
            ("$substring($string(id), 12)", r#""0993""#),
            (
                "$join(lines.$string(id), ',')",
                r#""9007199254740995,9007199254740993,9007199254740994""#,
            ),
            ("$jsonParse($string($)).id", "9007199254740993"),
            (
                "$keys($keyBy(lines, 'id'))",
                r#"["9007199254740995","9007199254740993","9007199254740994"]"#,
            ),
        ] {
            assert_eq!(shown(source, ROW), expected, "{source}");
        }
    }

    #[test]
    fn numbers_that_are_computed_are_right() {
        for (source, expected) in [
            ("rate * 2", "0.2"),
            ("rate + qty", "3.1"),
            ("-rate", "-0.1"),
            ("id - 1", "9007199254740991"),
            ("id + 0", "9007199254740992"),
            ("9007199254740991 + 1", "9007199254740992"),
            (
                "{'sum': 9007199254740991 + 1, 'id': id}",
                r#"{"sum":9007199254740992,"id":9007199254740993}"#,
            ),
            ("$sum([rate, rate])", "0.2"),
            ("[rate, rate] ~> $sum", "0.2"),
            ("$map([rate], function($r) { $r * 10 })", "1"),
            ("$floor(rate)", "0"),
            ("$map(lines.id, $number) ~> $count()", "3"),
            ("$max(lines.id) > 9007199254740990", "true"),
            ("$type(id)", r#""number""#),
            ("$boolean(id)", "true"),
            ("rate < 0.2", "true"),
            ("rate = 0.1", "true"),
            ("id = 9007199254740993", "true"),
            ("id = next", "false"),
            ("id != next", "true"),
            ("id in lines.id", "true"),
            ("next in lines.id", "false"),
            ("$formatNumber(rate, '0.00')", r#""0.10""#),
            ("$round(rate, 1)", "0.1"),
            ("(function($n)<n:n> { $n * 2 })(rate)", "0.2"),
        ] {
            assert_eq!(shown(source, ROW), expected, "{source}");
        }
    }

    #[test]
    fn a_number_where_a_text_is_needed_is_refused_as_ever() {
        let row: Value = serde_json::from_str(ROW).expect("JSON");
        for source in [
            "$uppercase(id)",
            "{id: 1}",
            "$join([id])",
            "$length(id)",
            "id.$trim()",
        ] {
            failure(source, &row);
        }
        let error = failure("huge + 1", &row);
        assert!(error.message.contains("range"), "{error}");
    }

    #[test]
    fn neighbours_that_an_expression_can_t_tell_apart_are_an_error_not_a_guess() {
        let row: Value = serde_json::from_str(ROW).expect("JSON");
        let error = failure(
            "(function($n)<n:n> { $n })(next) ~> $append(id)",
            &json!({
                "id": row["id"], "next": serde_json::from_str::<Value>("9007199254740992.5").expect("JSON")
            }),
        );
        assert!(error.message.contains("$string"), "{error}");
    }

    #[test]
    fn long_numbers_in_parsed_text_are_kept_too() {
        assert_eq!(
            shown(
                "$jsonParse(text)",
                r#"{"text": "{\"id\": 9007199254740993}"}"#
            ),
            r#"{"id":9007199254740993}"#
        );
    }

    proptest! {
        #[test]
        fn any_integer_is_carried_over_beside_its_neighbours(n in any::<i64>()) {
            let row = format!(r#"{{"a": {n}, "b": {}, "c": "{n}"}}"#, i128::from(n) + 1);
            let out = shown("{'a': a, 'b': b, 'c': $string(a), 'same': $string(a) = c}", &row);
            let expected = format!(r#"{{"a":{n},"b":{},"c":"{n}","same":true}}"#, i128::from(n) + 1);
            prop_assert_eq!(out, expected);
        }
    }
}

mod bounds {
    use super::*;

    #[test]
    fn a_runaway_expression_ends_with_what_bounds_it() {
        for (source, expected) in [
            ("($f := function($x) { $f($x) + 1 }; $f(1))", "nests deeper"),
            ("[1..10000000]", "100000 items"),
            ("[-9000000000000000000..9000000000000000000]", "2^53"),
            (
                "$reduce([1..100], function($a, $b) { $a & $a }, 'xxxxxxxx')",
                "makes a value larger than 16 MiB",
            ),
            (
                "$reduce([1..100], function($a, $b) { $join([$a, $a]) }, 'xxxxxxxx')",
                "makes a value larger",
            ),
            (
                "$reduce([1..100], function($a, $b) { $base64encode($a) }, 'abc')",
                "makes a value larger",
            ),
            (
                "$reduce([1..100], function($a, $b) { $wrap($a, $a) }, 'x')",
                "makes a value larger",
            ),
            (
                "$reduce([1..60], function($a, $b) { {'a': $a, 'b': $a} }, 'x')",
                "makes a value larger",
            ),
            (
                "$reduce([1..60], function($a, $b) { [[$a], [$a]] }, 'x')",
                "makes a value larger",
            ),
            (
                "$reduce([1..60], function($a, $b) { $zip([$a], [$a]) }, 1)",
                "makes a value larger",
            ),
            (
                "($x := {'a': 1}.{'a': $, 'b': $}.{'a': $, 'b': $}.{'a': $, 'b': $}.{'a': $, 'b': $}; $reduce([1..60], \
              function($a, $b) { {'a': $a, 'b': $a} }, $x) = $x)",
                "makes a value larger",
            ),
            (
                "$reduce([1..1000], function($a, $b) { {'a': $a} }, 1)",
                "127 levels",
            ),
            ("$pad('x', 900000000)", "1000000 characters"),
            ("$fromMillis(0, '[Y,9-900000000]')", "picture"),
            (
                "$replace($pad('', 1000000), ' ', $pad('', 1000))",
                "makes a value larger",
            ),
            (
                "$replace($pad('', 100000), / /, function($m) { $pad('', 2000) })",
                "1024 bytes",
            ),
            (
                "$contains($pad('', 1000000) & $pad('', 1000000), /x/)",
                "1 MiB",
            ),
            (
                "$join([1..20000].($string($)), $pad('', 1000))",
                "makes a value larger",
            ),
        ] {
            let error = compiled(source)
                .evaluate_within(&json!({}), LATE)
                .expect_err(source);
            assert!(error.message.contains(expected), "{source}: {error}");
        }
    }

    #[test]
    fn an_expression_that_only_takes_time_is_stopped() {
        for source in [
            "($f := function($x) { $f($x) }; $f(1))",
            "[1..100000].($x := $; [1..100000][$ = $x]) ~> $count()",
            "$map([1..100000], function($x) { $map([1..100000], function($y) { $x * $y }) })",
        ] {
            let began = Instant::now();
            let error = failure(source, &json!({}));
            assert!(
                error.message.contains("took longer than 250 ms"),
                "{source}: {error}"
            );
            // Checked between two steps, on a machine that may be busy.
            assert!(
                began.elapsed() < MAX_TIME * 40,
                "{source}: {:?}",
                began.elapsed()
            );
        }
    }

    #[test]
    fn distinct_of_many_items_takes_no_quadratic_time() {
        let began = Instant::now();
        let count = compiled("$count($distinct([1..100000]))").evaluate_within(&json!({}), LATE);
        assert_eq!(count.expect("evaluates"), Some(json!(100_000)));
        assert!(began.elapsed() < LATE, "{:?}", began.elapsed());
    }

    #[test]
    fn input_and_output_are_bounded() {
        let large = json!({"text": "x".repeat(super::super::MAX_WEIGHT)});
        assert!(failure("1", &large).message.contains("the input"));
        let half = json!({"text": "x".repeat(super::super::MAX_WEIGHT / 2)});
        assert!(
            failure("[text, text, text]", &half)
                .message
                .contains("the result")
        );
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        assert!(failure("1", &deep).message.contains("nests deeper"));
    }

    #[test]
    fn a_source_that_is_too_long_is_refused() {
        let long = format!("'{}'", "x".repeat(super::super::MAX_SOURCE));
        assert!(fault(&long).message.contains("longer"));
        assert!(fault(&"(".repeat(5_000)).message.contains("nesting"));
    }

    #[test]
    fn a_crash_of_the_engine_is_an_error() {
        // It divides by ten to the power of the width, which overflows to zero.
        let error = failure("$fromMillis(0, '[Y,9-64]')", &json!({}));
        assert!(error.message.contains("crashed"), "{error}");
    }
}

mod faults {
    use super::*;

    #[test]
    fn a_fault_says_what_is_wrong_and_where() {
        for (source, expected) in [
            (
                "foo(bar",
                "is no JSONata: ends where `)` is expected, at position 7",
            ),
            ("1 +", "is no JSONata: ends too early, at position 3"),
            ("", "is no JSONata: ends too early, at position 0"),
            ("a & ) b", "is no JSONata: `)` can't stand at position 4"),
            ("a.b = 1 2", "is no JSONata: `2` can't stand at position 8"),
            (
                "[1, 2)",
                "is no JSONata: expected `]`, found `)` at position 5",
            ),
            (
                "{'a' 1}",
                "is no JSONata: expected `:`, found `1` at position 5",
            ),
            (
                "é & 'abc",
                "is no JSONata: a string isn't closed, it opens at position 4",
            ),
            (
                "a.`b",
                "is no JSONata: a name isn't closed, it opens at position 2",
            ),
            (
                "a /* b",
                "is no JSONata: a comment isn't closed, it opens at position 2",
            ),
            (
                "1 + $contains(a, /b",
                "is no JSONata: a regular expression isn't closed, it opens at position 17",
            ),
            (
                "a + '\\q'",
                "is no JSONata: `'\\q'` has an escape that JSONata lacks, at position 4",
            ),
            ("a ! b", "is no JSONata: `!` can't stand at position 2"),
            (
                "1 + $sume(a)",
                "is no JSONata: there is no function `$sume`; did you mean `$sum`; found at position 4",
            ),
            (
                "$eval('1')",
                "is no JSONata: `$eval` isn't available, since what it runs can't be checked ahead; found at position 0",
            ),
            (
                "a.$dtFromIso(b)",
                "is no JSONata: `$dtFromIso` isn't available, use `$toMillis` and `$fromMillis`; found at position 2",
            ),
        ] {
            assert_eq!(fault(source).to_string(), expected, "{source}");
        }
    }

    #[test]
    fn an_error_shows_the_expression_and_the_shape_of_the_input_but_no_values() {
        let secret = json!({"name": "s3cret", "n": 4, "list": [1]});
        let error = failure("$number(name)", &secret).to_string();
        assert_eq!(
            error,
            "$number: the value is no number (D3030), in `$number(name)` over an object of name (a \
             string), n (a number), list (an array)"
        );
        for source in [
            "name + 1",
            "{name: 1, name: 2}",
            "name < 1",
            "name()",
            "$sqrt(-n)",
            "{n: 1}",
            "list^(name)",
            "$formatBase(n, 99)",
            "$decodeUrl(name & '%')",
            "$toMillis(name)",
            "[name..2]",
        ] {
            if let Err(error) = compiled(source).evaluate(&secret) {
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
        assert_eq!(failure("$error('own words')", &secret).message, "own words");
    }
}

mod added_functions {
    use super::*;

    #[test]
    fn added_functions_do_as_their_namesakes() {
        let input = json!({
            "role": "1", "roles": ["1", "ADMIN", "5"], "mapping": {"1": "owner", "admin": "Administrator"},
            "rows": [{"t": "b", "n": 2}, {"t": "a", "n": 1}, {"t": "b", "n": 3}], "url": "https://u@example.com:8443/p/a?x=1&y=2&y=3#top"
        });
        for (source, expected) in [
            ("$firstNonEmpty(null, missing, ['3'])", json!(["3"])),
            ("$mapValues(role, mapping)", json!("owner")),
            (
                "$mapValues(roles, mapping)",
                json!(["owner", "Administrator", "5"]),
            ),
            ("$mapValues({'a': 1}, mapping)", json!({"a": "owner"})),
            (
                "$mapValues(missing, mapping, false, 'Unknown')",
                json!("Unknown"),
            ),
            (
                "$removeEmpty({'a': '', 'b': [], 'c': null, 'd': 0})",
                json!({"d": 0}),
            ),
            ("$pick(rows[0], ['t', 'x'])", json!({"t": "b"})),
            ("$omit(rows[0], 't')", json!({"n": 2})),
            (
                "$keyBy(rows, 't')",
                json!({"b": {"t": "b", "n": 3}, "a": {"t": "a", "n": 1}}),
            ),
            ("$groupBy(rows, 't').b.n", json!([2, 3])),
            (
                "$orderBy(rows, ['t', 'n'], ['asc', 'desc']).n",
                json!([1, 3, 2]),
            ),
            ("$flatten([1, [2, [3]]])", json!([1, 2, [3]])),
            ("$compact([0, 1, false, 2, '', 3])", json!([1, 2, 3])),
            (
                "$jsonParse('{\"name\":\"Alice\"}')",
                json!({"name": "Alice"}),
            ),
            ("$jsonParse('{')", json!(null)),
            (
                "$parseUrl(url).(host & pathname & search & hash)",
                json!("example.com:8443/p/a?x=1&y=2&y=3#top"),
            ),
            (
                "$parseUrl(url).searchParams",
                json!({"x": "1", "y": ["2", "3"]}),
            ),
            (
                "$base64encode('Hello, World!')",
                json!("SGVsbG8sIFdvcmxkIQ=="),
            ),
            ("$base64encode('>>>?', true)", json!("Pj4-Pw")),
            ("$base64decode('Pj4-Pw', true)", json!(">>>?")),
            ("$base64decode('SGVsbG8=')", json!("Hello")),
            (
                "$digest('abc')",
                json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ),
            (
                "$sign('Hello, World!', 'SHA-256', 'mySecretKey')",
                json!("90a37738924dcbbc7a2ea3bf5bcc7aa6debdf67d95d783306b2550ca2da64b2d"),
            ),
            ("$toNumber(' 12 ')", json!(12)),
            ("$toNumber('x')", json!(null)),
            (
                "$wrap('content', '<div>', '</div>')",
                json!("<div>content</div>"),
            ),
            ("$wrap('x', '|')", json!("|x|")),
            (
                "$contains($uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)",
                json!(true),
            ),
            ("$map(['1', '2'], $toNumber)", json!([1, 2])),
            ("role ~> $wrap('<', '>')", json!("<1>")),
        ] {
            assert_eq!(evaluated(source, &input), Some(expected), "{source}");
        }
    }
}

mod sharing {
    use super::*;

    #[test]
    fn an_expression_may_be_shared_by_threads() {
        fn shared<T: Send + Sync + Clone + 'static>() {}
        fn sent<T: Send + Sync + std::error::Error + 'static>() {}
        shared::<Expression>();
        sent::<ExpressionFault>();
        sent::<EvaluationError>();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_tasks_evaluate_one_expression_at_once() {
        let expression = compiled("{'id': $string(id), 'twice': n * 2, 'kept': id}");
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..200_u64 {
            let expression = expression.clone();
            tasks.spawn(async move {
                let id = if n % 2 == 0 {
                    n
                } else {
                    9_007_199_254_740_993 + n
                };
                for _ in 0..20 {
                    let out = expression
                        .evaluate(&json!({"id": id, "n": n}))
                        .expect("evaluates");
                    assert_eq!(
                        out,
                        Some(json!({"id": id.to_string(), "twice": n * 2, "kept": id}))
                    );
                    tokio::task::yield_now().await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("a task");
        }
    }
}

mod any_text {
    use super::*;

    fn fragment() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "a",
            "b.c",
            "$",
            "$$",
            "%",
            "*",
            "**",
            ".",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            ",",
            ";",
            ":",
            "?",
            "=",
            "!=",
            "<",
            ">",
            "+",
            "-",
            "/",
            "&",
            " and ",
            " in ",
            "~>",
            ":=",
            "..",
            "@$v",
            "#$i",
            "^(",
            "|",
            "'x'",
            "\"",
            "`n`",
            "1",
            "1e9",
            "0.5",
            "null",
            "true",
            "/x/i",
            "/*",
            "*/",
            "function($x){",
            "λ(",
            "$sum(",
            "$map(",
            "$string(",
            "$replace(",
            "$fromMillis(",
            "$formatNumber(",
            "$pad(",
            "$x",
            "é",
            "\\u",
            "$sort(",
            "$reduce(",
            "??",
            "?:",
            "$lookup(",
            "$split(",
            "$formatInteger(",
            "$parseInteger(",
        ])
        .prop_map(str::to_owned)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_text_ends_the_process(source in prop::collection::vec(fragment(), 0..14)) {
            let source = source.concat();
            match Expression::compile(&source) {
                Ok(expression) => {
                    // Either is fine, as long as it returns.
                    let _ = expression.evaluate(&order());
                    let long = serde_json::from_str(r#"{"a": 9007199254740993, "b": {"c": [0.12345678901234567]}}"#)
                        .expect("JSON");
                    let _ = expression.evaluate(&long);
                }
                Err(fault) => prop_assert!(fault.position <= source.chars().count(), "{fault}"),
            }
        }

        #[test]
        fn no_letters_end_the_process(source in "\\PC{0,40}") {
            if let Ok(expression) = Expression::compile(&source) {
                let _ = expression.evaluate(&order());
            }
        }
    }
}
