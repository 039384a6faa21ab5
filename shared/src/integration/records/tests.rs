use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    ENVELOPE_DEPTH, ROOT_OBJECT_BYTES, RecordSplitter, RecordsError, ResponsePath, Rest,
    SHOWN_BYTES, SplitLimits,
};

const LIMITS: SplitLimits = SplitLimits {
    record_bytes: 1 << 20,
    envelope_bytes: 1 << 20,
    depth: 100,
};

/// How a body that was held is pushed.
const HELD_PIECE: usize = 7;

type Split = Result<(Vec<String>, Value), RecordsError>;

fn split_pieces<'p>(
    path: Option<&str>,
    limits: SplitLimits,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Split {
    let path = path.map(|path| ResponsePath::parse(path).expect("a path"));
    let mut splitter = RecordSplitter::new(path.as_ref(), limits);
    let mut records = Vec::new();
    let mut record =
        |raw: &[u8]| records.push(String::from_utf8(raw.to_vec()).expect("checked to be UTF-8"));
    for piece in pieces {
        splitter.push(piece, &mut record)?;
    }
    loop {
        match splitter.finish(&mut record)? {
            Rest::Envelope(envelope) => return Ok((records, envelope)),
            Rest::Held(inner, body) => {
                splitter = *inner;
                for piece in body.chunks(HELD_PIECE) {
                    splitter.push(piece, &mut record)?;
                }
            }
        }
    }
}

/// Splits the body in one piece and byte by byte, which must agree.
fn split_bytes(path: Option<&str>, body: &[u8]) -> Split {
    let whole = split_pieces(path, LIMITS, [body]);
    let bytewise = split_pieces(path, LIMITS, body.chunks(1));
    match (&whole, &bytewise) {
        (Ok(whole), Ok(bytewise)) => assert_eq!(whole, bytewise),
        (Err(whole), Err(bytewise)) => assert_eq!(whole.code, bytewise.code),
        _ => panic!("in one piece: {whole:?}, byte by byte: {bytewise:?}"),
    }
    whole
}

fn split(path: Option<&str>, body: &str) -> Split {
    split_bytes(path, body.as_bytes())
}

fn records(path: Option<&str>, body: &str) -> Vec<String> {
    split(path, body).expect("a body that can be split").0
}

fn error(path: Option<&str>, body: &str) -> RecordsError {
    split(path, body).expect_err("a body that can't be split")
}

const NONE: [&str; 0] = [];

#[test]
fn elements_at_the_path_are_records_and_the_rest_is_the_envelope() {
    let (records, envelope) = split(
        Some("data.orders"),
        r#"{"data":{"orders":[{"id":1},{"id":2}],"total":2},"meta":{"next":"c1"}}"#,
    )
    .unwrap();
    assert_eq!(records, [r#"{"id":1}"#, r#"{"id":2}"#]);
    assert_eq!(
        envelope,
        json!({"data": {"orders": [], "total": 2}, "meta": {"next": "c1"}})
    );
}

#[test]
fn record_bytes_are_exactly_those_of_the_source() {
    let raw = [
        "{ \"a\" :\t1.10,\n \"b\": 9007199254740993 }",
        r#"{"\u00e9":"\ud83d\ude00 \/ \"q\" ]}","n":-0.0e+05}"#,
        "[ 1 , [ ] ]",
        "-12.50",
        "\"text, with ] and }\"",
        "null",
        "true",
        "0.1000000000000000055511151231257827",
    ];
    assert_eq!(
        records(
            Some("d"),
            &format!("{{\"d\": [ {} \r\n] }}", raw.join(" ,\n "))
        ),
        raw
    );
    assert_eq!(records(None, &format!("[{}]", raw.join(","))), raw);
}

#[test]
fn an_object_at_the_path_is_one_record_with_null_in_its_place() {
    let (records, envelope) = split(Some("data"), r#"{"a":1,"data": {"id": 7} ,"b":[2]}"#).unwrap();
    assert_eq!(records, [r#"{"id": 7}"#]);
    assert_eq!(envelope, json!({"a": 1, "data": null, "b": [2]}));
}

#[test]
fn null_at_the_path_means_no_records() {
    assert_eq!(records(Some("data"), r#"{"data":null}"#), NONE);
    assert_eq!(records(None, "null"), NONE);
}

#[test]
fn an_empty_array_means_no_records() {
    assert_eq!(
        split(Some("data"), r#"{"data":[ ]}"#).unwrap(),
        (vec![], json!({"data": []}))
    );
    assert_eq!(split(None, " [] ").unwrap(), (vec![], json!([])));
}

#[test]
fn nothing_at_the_path_is_an_error_that_shows_what_is_there() {
    for body in [
        r#"{"dato":[],"meta":{}}"#,
        r#"{"x":{"data":[]},"meta":1}"#,
        r#"[{"data":[1]}]"#,
        r#""data""#,
        "12",
    ] {
        let error = error(Some("data"), body);
        assert_eq!(error.code, "response_path_missing", "{body}");
    }
    assert!(
        error(Some("data"), r#"{"dato":[],"meta":{}}"#)
            .message
            .contains("`dato`, `meta`")
    );
}

#[test]
fn null_on_the_way_to_the_path_is_nothing_there() {
    assert_eq!(
        error(Some("data.orders"), r#"{"data":null,"errors":[]}"#).code,
        "response_path_missing"
    );
}

#[test]
fn a_scalar_at_the_path_is_an_error_that_names_its_kind() {
    for (value, kind) in [
        ("\"x\"", "a string"),
        ("1", "a number"),
        ("true", "a boolean"),
    ] {
        let error = error(Some("data"), &format!(r#"{{"data":{value}}}"#));
        assert_eq!(error.code, "response_path_missing");
        assert!(error.message.contains(kind), "{error}");
    }
    assert_eq!(error(None, "\"oops\"").code, "response_path_missing");
}

#[test]
fn a_star_leads_through_every_element() {
    let body = r#"{"data":{"edges":[{"node":{"id":1},"cursor":"a"},{"cursor":"b","node":{"id":2}}],"p":{"more":true}}}"#;
    let (records, envelope) = split(Some("data.edges.*.node"), body).unwrap();
    assert_eq!(records, [r#"{"id":1}"#, r#"{"id":2}"#]);
    assert_eq!(
        envelope,
        json!({"data": {"edges": [{"node": null, "cursor": "a"}, {"cursor": "b", "node": null}], "p": {"more": true}}})
    );
}

#[test]
fn arrays_below_a_star_give_their_elements() {
    let body = r#"{"orders":[{"id":1,"lines":[{"l":1},{"l":2}]},{"id":2},{"id":3,"lines":null},{"id":4,"lines":[{"l":3}]}]}"#;
    let (records, envelope) = split(Some("orders.*.lines"), body).unwrap();
    assert_eq!(records, [r#"{"l":1}"#, r#"{"l":2}"#, r#"{"l":3}"#]);
    assert_eq!(envelope["orders"][0], json!({"id": 1, "lines": []}));
}

#[test]
fn a_star_at_the_end_takes_the_elements_themselves() {
    assert_eq!(
        records(Some("data.*"), r#"{"data":[{"a":1},[{"b":2},3],null]}"#),
        [r#"{"a":1}"#, r#"{"b":2}"#, "3"]
    );
    assert_eq!(records(Some("*"), r#"[{"a":1}]"#), [r#"{"a":1}"#]);
}

#[test]
fn an_empty_array_under_a_star_means_no_records() {
    assert_eq!(records(Some("edges.*.node"), r#"{"edges":[]}"#), NONE);
    assert_eq!(records(Some("a.*.b.*.c"), r#"{"a":[{"b":[]}]}"#), NONE);
    assert_eq!(
        records(Some("edges.*.node.lines"), r#"{"edges":[{"node":null}]}"#),
        NONE
    );
}

#[test]
fn a_path_that_no_element_under_a_star_has_is_missing() {
    assert_eq!(
        error(
            Some("edges.*.nod"),
            r#"{"edges":[{"node":{}},{"node":{}}]}"#
        )
        .code,
        "response_path_missing"
    );
    assert_eq!(
        error(Some("edges.*.node"), r#"{"edges":{"node":{}}}"#).code,
        "response_path_missing"
    );
}

#[test]
fn an_index_leads_to_one_element_of_an_array_or_a_member_of_that_name() {
    assert_eq!(
        records(Some("0.rows"), r#"[{"rows":[1,2]},{"rows":[3]}]"#),
        ["1", "2"]
    );
    assert_eq!(records(Some("1"), "[[1],[2,3]]"), ["2", "3"]);
    assert_eq!(records(Some("a.0"), r#"{"a":{"0":[5]}}"#), ["5"]);
}

#[test]
fn keys_match_after_decoding_their_escapes() {
    assert_eq!(
        records(Some("données.a\"b"), r#"{"donn\u00e9es":{"a\"b":[1]}}"#),
        ["1"]
    );
    assert_eq!(records(None, r#"{"\u0064ata":[1]}"#), ["1"]);
}

#[test]
fn a_key_only_counts_on_its_own_level() {
    let body = r#"{"x":{"data":[1]},"y":[{"data":[2]}],"data":[{"data":[3]}]}"#;
    assert_eq!(records(Some("data"), body), [r#"{"data":[3]}"#]);
}

#[test]
fn a_key_twice_at_the_path_gives_the_records_of_both() {
    assert_eq!(
        records(Some("data"), r#"{"data":[1,2],"data":[3]}"#),
        ["1", "2", "3"]
    );
    assert_eq!(
        records(None, r#"{"data":[1,2],"data":[3]}"#),
        ["1", "2", "3"]
    );
}

#[test]
fn a_root_object_without_a_path_gives_its_only_array() {
    let (records, envelope) = split(
        None,
        r#" {"next":"c","it.ems*":[{"a":[1]},2],"o":{"x":[3]}} "#,
    )
    .unwrap();
    assert_eq!(records, [r#"{"a":[1]}"#, "2"]);
    assert_eq!(
        envelope,
        json!({"next": "c", "it.ems*": [], "o": {"x": [3]}})
    );
}

#[test]
fn a_root_object_without_an_array_is_the_record() {
    assert_eq!(
        split(None, " {\"id\": 1} \n").unwrap(),
        (vec!["{\"id\": 1}".to_owned()], Value::Null)
    );
    assert_eq!(records(None, "{}"), ["{}"]);
}

#[test]
fn several_arrays_without_a_path_are_ambiguous_and_listed() {
    let error = error(None, r#"{"orders":[1],"meta":{},"errors":[]}"#);
    assert_eq!(error.code, "response_path_ambiguous");
    assert!(error.message.contains("`orders`, `errors`"), "{error}");
}

#[test]
fn a_large_root_object_without_a_path_asks_for_one() {
    let body = format!(r#"{{"data":["{}"]}}"#, "x".repeat(ROOT_OBJECT_BYTES));
    let limits = SplitLimits {
        record_bytes: 2 * ROOT_OBJECT_BYTES,
        ..LIMITS
    };
    let error = split_pieces(None, limits, body.as_bytes().chunks(65536)).unwrap_err();
    assert_eq!(error.code, "envelope_too_large");
    assert!(error.message.contains("response_path"), "{error}");
    assert_eq!(
        split_pieces(Some("data"), limits, [body.as_bytes()])
            .unwrap()
            .0
            .len(),
        1
    );
}

#[test]
fn an_empty_body_is_said_to_be_empty() {
    for body in ["", " \r\n\t", "\u{feff}"] {
        let error = error(Some("data"), body);
        assert_eq!(error.code, "invalid_body");
        assert!(error.message.contains("empty"), "{error}");
    }
    let error = split_pieces(None, LIMITS, []).unwrap_err();
    assert!(error.message.contains("empty"), "{error}");
}

#[test]
fn a_truncated_body_is_an_error_wherever_it_ends() {
    let body = r#"{"a":{"b":"\u00e9"},"data":[{"x":[1.5e3,true]},"y"]}"#;
    for end in 1..body.len() {
        let error = error(Some("data"), &body[..end]);
        assert_eq!(error.code, "invalid_body", "ended after {}", &body[..end]);
        assert!(error.message.contains("expected"), "{error}");
    }
    assert_eq!(error(None, "[1").code, "invalid_body");
    assert_eq!(error(None, r#"{"data":[1"#).code, "invalid_body");
}

#[test]
fn html_is_an_error_that_shows_how_the_body_begins() {
    let page = format!(
        "<!DOCTYPE html><title>Bad gateway</title>{}",
        "é".repeat(1000)
    );
    let error = error(Some("data"), &page);
    assert_eq!(error.code, "invalid_body");
    assert!(error.message.contains("expected a JSON value"), "{error}");
    assert!(error.message.contains("Bad gateway"), "{error}");
    assert!(error.message.len() < 2 * SHOWN_BYTES + 100, "{error}");
}

#[test]
fn anything_after_the_document_is_an_error() {
    for body in [
        r#"{"data":[1]} x"#,
        r#"{"data":[1]}{"data":[2]}"#,
        r#"{"data":[1]}]"#,
        "[1]\u{0}",
    ] {
        let path = body.starts_with('{').then_some("data");
        assert_eq!(error(path, body).code, "invalid_body", "{body}");
    }
}

#[test]
fn broken_json_inside_and_between_records_is_an_error() {
    for inside in [
        "{\"a\":01}",
        "{\"a\"}",
        "{\"a\":1,}",
        "{a:1}",
        "tru",
        "1 2",
        "1,",
        ",1",
        "\"\n\"",
        "\"\\x\"",
        "[1}",
        "NaN",
        "'a'",
    ] {
        assert_eq!(
            error(Some("data"), &format!("{{\"data\":[{inside}]}}")).code,
            "invalid_body",
            "{inside}"
        );
        assert_eq!(
            error(Some("data"), &format!("{{\"x\":[{inside}],\"data\":[]}}")).code,
            "invalid_body",
            "{inside}"
        );
    }
}

#[test]
fn bytes_that_are_no_utf8_are_an_error_in_records_envelope_and_keys() {
    for body in [
        &b"{\"data\":[\"\xff\"]}"[..],
        b"{\"x\":\"\xc3\",\"data\":[]}",
        b"{\"\xff\":1,\"data\":[]}",
        b"{\"data\":[],\"x\":{\"\xfe\":1}}",
    ] {
        let error = split_bytes(Some("data"), body).unwrap_err();
        assert_eq!(
            error.code,
            "invalid_body",
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(
        split_bytes(None, b"{\"x\":\"\xff\"}").unwrap_err().code,
        "invalid_body"
    );
}

#[test]
fn a_byte_order_mark_is_passed_over_and_half_of_one_is_not() {
    assert_eq!(records(Some("data"), "\u{feff}{\"data\":[1]}"), ["1"]);
    for body in [&b"\xef\xbb{}"[..], b"\xef{}", b"\xef\xbb\xbf\xef\xbb\xbf{}"] {
        assert_eq!(split_bytes(None, body).unwrap_err().code, "invalid_body");
    }
}

#[test]
fn nesting_past_the_limit_is_refused_in_records_and_envelope() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let in_record = |levels| format!("{{\"data\":[{}]}}", nested(levels));
    let in_envelope = |levels| format!("{{\"data\":[],\"x\":{}}}", nested(levels));
    assert_eq!(records(Some("data"), &in_record(LIMITS.depth - 2)).len(), 1);
    assert_eq!(
        error(Some("data"), &in_record(LIMITS.depth - 1)).code,
        "too_deep"
    );
    assert_eq!(
        records(Some("data"), &in_envelope(LIMITS.depth - 1)).len(),
        0
    );
    assert_eq!(
        error(Some("data"), &in_envelope(LIMITS.depth)).code,
        "too_deep"
    );

    let deep = SplitLimits {
        depth: 10_000,
        ..LIMITS
    };
    assert!(split_pieces(Some("data"), deep, [in_record(9_000).as_bytes()]).is_ok());
    assert!(
        split_pieces(
            Some("data"),
            deep,
            [in_envelope(ENVELOPE_DEPTH - 1).as_bytes()]
        )
        .is_ok()
    );
    let error =
        split_pieces(Some("data"), deep, [in_envelope(ENVELOPE_DEPTH).as_bytes()]).unwrap_err();
    assert_eq!(error.code, "too_deep");
}

#[test]
fn a_record_past_its_limit_is_refused_before_it_is_complete() {
    let limits = SplitLimits {
        record_bytes: 10,
        ..LIMITS
    };
    let ok = split_pieces(Some("d"), limits, [&br#"{"d":["12345678"]}"#[..]]);
    assert_eq!(ok.unwrap().0, ["\"12345678\""]);
    let body = br#"{"d":["123456789"]}"#;
    assert_eq!(
        split_pieces(Some("d"), limits, [&body[..]])
            .unwrap_err()
            .code,
        "record_too_large"
    );

    let path = ResponsePath::parse("d").unwrap();
    let mut splitter = RecordSplitter::new(Some(&path), limits);
    let pushed = body[..17]
        .chunks(1)
        .try_for_each(|byte| splitter.push(byte, &mut |_| {}));
    assert_eq!(pushed.unwrap_err().code, "record_too_large");
}

#[test]
fn an_envelope_past_its_limit_is_refused() {
    let limits = SplitLimits {
        envelope_bytes: 20,
        ..LIMITS
    };
    let records = vec!["{\"a\":1}"; 1000].join(",");
    assert_eq!(
        split_pieces(
            Some("data"),
            limits,
            [format!("{{\"data\":[{records}]}}").as_bytes()]
        )
        .unwrap()
        .0
        .len(),
        1000
    );
    let error = split_pieces(
        Some("data"),
        limits,
        [format!("{{\"dato\":[{records}]}}").as_bytes()],
    )
    .unwrap_err();
    assert_eq!(error.code, "envelope_too_large");
    assert!(error.message.contains("`data`"), "{error}");
}

#[test]
fn records_are_handed_out_as_soon_as_they_are_complete() {
    let path = ResponsePath::parse("data").unwrap();
    let mut splitter = RecordSplitter::new(Some(&path), LIMITS);
    let mut seen = 0;
    splitter
        .push(br#"{"data":[{"a":1},{"a""#, &mut |_| seen += 1)
        .unwrap();
    assert_eq!(seen, 1);
    splitter.push(b":2}", &mut |_| seen += 1).unwrap();
    assert_eq!(seen, 2);
}

#[test]
fn a_path_with_an_empty_part_is_refused() {
    for text in ["", " ", ".", "a.", ".a", "a..b"] {
        assert!(ResponsePath::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(
        ResponsePath::parse("data.edges.*.node")
            .unwrap()
            .to_string(),
        "data.edges.*.node"
    );
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,2}"
}

/// JSON text in every spelling: spaces anywhere, odd numbers, escapes.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        "\"([ -!#-\\[\\]-~é€😀]|\\\\[\"\\\\/bfnrt]|\\\\u00[0-7][0-9a-f]){0,12}\"",
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            (
                prop::collection::vec((space(), inner.clone(), space()), 0..4),
                space()
            )
                .prop_map(|(items, end)| {
                    let items: Vec<String> = items
                        .into_iter()
                        .map(|(a, item, b)| format!("{a}{item}{b}"))
                        .collect();
                    format!("[{}{end}]", items.join(","))
                }),
            prop::collection::vec((space(), "[a-c\\[{}\\]]{0,3}", inner, space()), 0..4).prop_map(
                |members| {
                    let members: Vec<String> = members
                        .into_iter()
                        .map(|(a, key, value, b)| format!("{a}\"{key}\"{a}:{b}{value}{b}"))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same_records(
        before in json_text(),
        raw in prop::collection::vec((space(), json_text(), space()), 0..6),
        after in json_text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let array: Vec<String> = raw.iter().map(|(a, raw, b)| format!("{a}{raw}{b}")).collect();
        let body = format!("{{\"before\": {before}, \"x\":{{\"data\":[{}]}},\"after\":{after}}}", array.join(","));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&body.as_bytes()[from..cut]);
            from = cut;
        }
        pieces.push(&body.as_bytes()[from..]);
        let (records, envelope) = split_pieces(Some("x.data"), LIMITS, pieces).expect("valid JSON");
        let expected: Vec<String> = raw.into_iter().map(|(_, raw, _)| raw).collect();
        prop_assert_eq!(records, expected);
        let mut whole: Value = serde_json::from_str(&body).expect("valid JSON");
        whole["x"]["data"] = json!([]);
        prop_assert_eq!(envelope, whole);
    }

    #[test]
    fn rubbish_is_accepted_only_where_serde_json_accepts_it(
        body in prop_oneof![json_text(), "[\\[\\]{}\",:0-9a\\\\eE.+tn -]{0,30}"],
        flip in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(None), any::<u8>().prop_map(Some)],
    ) {
        let mut body = format!("{{\"data\":[{body}]}}").into_bytes();
        if let Some(byte) = byte {
            let at = flip.index(body.len());
            body[at] = byte;
        }
        let whole: Result<Value, _> = serde_json::from_slice(&body);
        let split = split_pieces(Some("data"), LIMITS, body.chunks(7));
        match (whole, split) {
            (Ok(_), Ok(_)) => {}
            (Ok(whole), Err(error)) => prop_assert_eq!(error.code, "response_path_missing", "{}", whole),
            (Err(_), Err(error)) => prop_assert!(matches!(error.code, "invalid_body" | "response_path_missing"), "{}", error),
            (Err(error), Ok(_)) => prop_assert!(false, "accepted, although {}", error),
        }
    }
}
