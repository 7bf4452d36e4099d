//! MessagePack against the examples of its specification, whole and cut off.

use proptest::prelude::*;

use super::*;

/// The bytes of a value, and what they are.
const SINGLE: [(&[u8], Value<'_>); 27] = [
    (&[0xc0], Value::Nil),
    (&[0xc2], Value::Bool(false)),
    (&[0xc3], Value::Bool(true)),
    (&[0x00], Value::Uint(0)),
    (&[0x7f], Value::Uint(127)),
    (&[0xff], Value::Int(-1)),
    (&[0xe0], Value::Int(-32)),
    (&[0xcc, 0xff], Value::Uint(255)),
    (&[0xcd, 1, 0], Value::Uint(256)),
    (&[0xce, 1, 0, 0, 0], Value::Uint(1 << 24)),
    (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Value::Uint(u64::MAX)),
    (&[0xd0, 0x80], Value::Int(-128)),
    (&[0xd1, 0xff, 0xfe], Value::Int(-2)),
    (&[0xd2, 0x7f, 0xff, 0xff, 0xff], Value::Uint(0x7fff_ffff)),
    (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Value::Int(i64::MIN)),
    (&[0xca, 0x3f, 0x80, 0, 0], Value::Float(1.0)),
    (&[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Value::Float(1.0)),
    (&[0xa2, b'h', b'i'], Value::Str(b"hi")),
    (&[0xd9, 2, b'h', b'i'], Value::Str(b"hi")),
    (&[0xda, 0, 2, b'h', b'i'], Value::Str(b"hi")),
    (&[0xdb, 0, 0, 0, 2, b'h', b'i'], Value::Str(b"hi")),
    (&[0xc4, 1, 0xff], Value::Bin(&[0xff])),
    (&[0xc5, 0, 1, 0xff], Value::Bin(&[0xff])),
    (&[0xc6, 0, 0, 0, 1, 0xff], Value::Bin(&[0xff])),
    (&[0xd7, 0, 1, 2, 3, 4, 5, 6, 7, 8], Value::Ext(0, &[1, 2, 3, 4, 5, 6, 7, 8])),
    (&[0xc7, 2, 0xff, 1, 2], Value::Ext(-1, &[1, 2])),
    (&[0xc8, 0, 1, 5, 9], Value::Ext(5, &[9])),
];

#[test]
fn values_are_what_the_specification_says_and_cut_off_are_none() {
    for (bytes, wanted) in SINGLE {
        let mut reader = Reader::new(bytes);
        assert_eq!((reader.value(), reader.is_at_end()), (Ok(wanted), true), "{bytes:x?}");
        assert_eq!(Scanner::new(100).scan(bytes), Ok(Some(bytes.len())), "{bytes:x?}");
        assert_eq!(Reader::new(bytes).skip(), Ok(bytes));
        for len in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..len]).value(), Err(Fault::CutOff), "{bytes:x?}");
            assert_eq!(Reader::new(&bytes[..len]).skip(), Err(Fault::CutOff), "{bytes:x?}");
            assert_eq!(Scanner::new(100).scan(&bytes[..len]), Ok(None), "{bytes:x?}");
        }
    }
}

#[test]
fn what_is_too_large_or_too_deep_is_refused_at_its_head() {
    for head in [
        &[0xdb, 0xff, 0xff, 0xff, 0xff][..],
        &[0xc6, 0, 0, 4, 1],
        &[0xc9, 0, 0, 4, 0],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0x7f, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xde, 2, 1],
    ] {
        assert_eq!(Scanner::new(1024).scan(head), Err(Fault::TooLarge), "{head:x?}");
    }
    let deep = |levels| [vec![0x91; levels], vec![0xc0]].concat();
    assert_eq!(Scanner::new(1024).scan(&deep(DEPTH_MAX)), Ok(Some(DEPTH_MAX + 1)));
    assert_eq!(Scanner::new(1024).scan(&deep(DEPTH_MAX + 1)), Err(Fault::TooDeep));
    assert_eq!(Scanner::new(1024).scan(&[0xc1]), Err(Fault::Reserved));
    // A string that just fits, and one that does not.
    let text = |len: usize| {
        let mut out = Vec::new();
        str(&mut out, &vec![b'x'; len]);
        out
    };
    assert_eq!(Scanner::new(103).scan(&text(101)), Ok(Some(103)));
    assert_eq!(Scanner::new(102).scan(&text(101)), Err(Fault::TooLarge));
}

#[test]
fn what_is_written_is_read_the_same_at_every_width() {
    for len in [0, 31, 32, 255, 256, 65_535, 65_536] {
        let text = vec![b'x'; len];
        let (mut one, mut other) = (Vec::new(), Vec::new());
        str(&mut one, &text);
        bin(&mut other, &text);
        assert_eq!(Reader::new(&one).value(), Ok(Value::Str(&text)));
        assert_eq!(Reader::new(&other).value(), Ok(Value::Bin(&text)));
    }
    for count in [0, 15, 16, 65_535, 65_536] {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        array(&mut one, count);
        map(&mut other, count);
        assert_eq!(Reader::new(&one).value(), Ok(Value::Array(count)));
        assert_eq!(Reader::new(&other).value(), Ok(Value::Map(count)));
    }
    for number in [0, 127, 128, 1 << 32, u64::MAX] {
        let mut out = Vec::new();
        uint(&mut out, number);
        bool(&mut out, true);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.value(), Ok(Value::Uint(number)));
        assert_eq!(reader.value(), Ok(Value::Bool(true)));
    }
}

/// Any value, as bytes.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let plain = (0..SINGLE.len()).prop_map(|at| SINGLE[at].0.to_vec());
    plain.prop_recursive(6, 40, 5, |inner| {
        proptest::collection::vec(inner, 0..5).prop_flat_map(|values| {
            any::<bool>().prop_map(move |is_map| {
                let mut out = Vec::new();
                let count = u32::try_from(values.len()).unwrap();
                if is_map && count % 2 == 0 {
                    map(&mut out, count / 2);
                } else {
                    array(&mut out, count);
                }
                out.extend(values.concat());
                out
            })
        })
    })
}

proptest! {
    #[test]
    fn the_end_of_a_value_is_found_whichever_way_it_comes(
        values in proptest::collection::vec(anything(), 1..4),
        step in 1_usize..9,
    ) {
        let stream = values.concat();
        let mut scanner = Scanner::new(4096);
        let (mut start, mut end, mut found) = (0, 0, Vec::new());
        while start < stream.len() {
            match scanner.scan(&stream[start..end]).unwrap() {
                Some(len) => {
                    found.push(stream[start..start + len].to_vec());
                    start += len;
                }
                None => end = (end + step).min(stream.len()),
            }
        }
        prop_assert_eq!(found, values);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(&bytes);
        while reader.value().is_ok() {}
        let mut reader = Reader::new(&bytes);
        while reader.skip().is_ok_and(|value| !value.is_empty()) {}
    }
}
