use super::*;

fn accepts(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(64);
    let mut position = 0;
    loop {
        match lexer.step(text, &mut position) {
            Ok(Some(_)) => {}
            Ok(None) => return lexer.finish().is_ok(),
            Err(_) => return false,
        }
    }
}

#[test]
fn accepts_exactly_what_serde_json_accepts() {
    let texts = [
        "{}",
        "[]",
        "0",
        "-0",
        "01",
        "-",
        "1.",
        ".5",
        "1.5",
        "1e",
        "1e5",
        "1E+5",
        "1e-05",
        "1e+",
        "+1",
        "tru",
        "true",
        "truE",
        "nul",
        "null ",
        " null",
        "nulll",
        "\"\"",
        "\"a",
        "\"\\x\"",
        "\"\\u00e9\"",
        "\"\\u00g9\"",
        "\"\\u00\"",
        "\"a\nb\"",
        "\"\u{7f}é\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":[{\"b\":null}]}",
        "[] []",
        "",
        " ",
        "\"12345678\\\"abc\"",
        "[-]",
        "[0]",
        "[1e5]",
        "{\"a\": \t\r\n1}",
        "\u{a0}1",
        "'a'",
        "NaN",
        "[true,false,null]",
        "[[[[]]]]",
        "]",
        "}",
        "{\"a\":1}}",
    ];
    for text in texts {
        let expected = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        assert_eq!(accepts(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn a_string_is_skipped_to_its_first_special_byte_wherever_that_stands() {
    for special in [b'"', b'\\', 0x00, 0x1f] {
        for at in 0..40 {
            let mut bytes = vec![0xc3; 40];
            bytes[at] = special;
            if at + 1 < 40 {
                bytes[at + 1] = special + 1;
            }
            assert_eq!(skip_plain(&bytes, 0), at, "{special} at {at}");
        }
    }
    assert_eq!(skip_plain(b"plain text without an end", 0), 25);
}
