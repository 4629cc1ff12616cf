//! `.npz` archives that are damaged, hostile or of an unread kind.

use pollster::block_on;
use polyglance::limits;
use polyglance::weights::{Checkpoint, Dtype, WeightsError, expected_tensors};

use super::oracle;
use super::support::*;

/// Opens an archive of one array, `t`.
fn with_scalar(descr: &str, fortran: &str, shape: &[usize], data: &[u8]) -> Result<Checkpoint, WeightsError> {
    open(b"", vec![("model.npz", zip(&[ZipEntry::stored("t", npy(descr, fortran, shape, data))]))])
}

#[test]
fn unsupported_npy_arrays_are_refused() {
    let data = [0; 16];
    let cases = [
        (with_scalar("'|O'", "False", &[1], &data), "Python objects"),
        (with_scalar("'<f4'", "True", &[2, 2], &data), "Fortran order"),
        (with_scalar("'<f4'", "False", &[5], &data), "does not take"),
        (with_scalar("'<f4'", "False", &[usize::MAX, 2], &data), "does not take"),
        (with_scalar("<f4", "False", &[4], &data), "img/embedding/kernel is missing"),
        (open(b"", vec![("model.npz", zip(&[ZipEntry::stored("t", b"not numpy".to_vec())]))]), "not an .npy array"),
        (open(b"", vec![("model.npz", zip(&[ZipEntry::stored("t", b"\x93NUMPY\x01\x00\xff\xff{".to_vec())]))]), "cut short"),
    ];
    for (result, expected) in cases {
        let message = refusal(result);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn half_precision_arrays_are_read() {
    let folder = block_on(Checkpoint::open(&oracle("fixed"))).unwrap();
    let halves = block_on(Checkpoint::open(&oracle("half.npz"))).unwrap();
    for info in halves.tensors() {
        let is_vision = info.name.starts_with("vision_model");
        let round = |value: &f32| if is_vision { half::f16::from_f32(*value).to_f32() } else { half::bf16::from_f32(*value).to_f32() };
        let expected: Vec<f32> = read(&folder, &info.name).iter().map(round).collect();
        assert_eq!(read(&halves, &info.name), expected, "{}", info.name);
        assert_eq!(info.dtype, if is_vision { Dtype::F16 } else { Dtype::Bf16 });
    }
}

#[test]
fn truncated_npz_is_refused_at_every_length() {
    for name in ["fixed.npz", "naflex.npz"] {
        let whole = std::fs::read(oracle(name)).unwrap();
        for len in (0..whole.len()).step_by(371) {
            let message = refusal(open(b"", vec![(name, whole[..len].to_vec())]));
            assert!(message.contains(name), "{message}");
        }
    }
}

#[test]
fn flipped_npz_directory_bits_never_panic() {
    let whole = std::fs::read(oracle("fixed.npz")).unwrap();
    let directory_at = u32::from_le_bytes(*whole[whole.len() - 6..].first_chunk().unwrap()) as usize;
    for bit in (directory_at * 8..whole.len() * 8).step_by(5) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(checkpoint) = open(b"", vec![("model.npz", flipped)]) {
            assert_eq!(checkpoint.tensors().count(), expected_tensors(checkpoint.config()).len());
        }
    }
}

#[test]
fn damaged_deflate_streams_are_noticed_when_read() {
    let whole = std::fs::read(oracle("naflex.npz")).unwrap();
    let folder = block_on(Checkpoint::open(&oracle("naflex"))).unwrap();
    for position in (200..whole.len() - 8000).step_by(1009) {
        let mut flipped = whole.clone();
        flipped[position] ^= 0x10;
        let Ok(checkpoint) = open(b"", vec![("model.npz", flipped)]) else { continue };
        for info in folder.tensors() {
            if let Ok(values) = block_on(checkpoint.read(&info.name)) {
                assert_eq!(values, read(&folder, &info.name), "{} at byte {position}", info.name);
            }
        }
    }
}

#[test]
fn npz_bombs_are_refused() {
    let zeros = ZipEntry::deflated("t", npy("'<f4'", "False", &[1 << 20], &vec![0; 4 << 20]));
    let claims = |size: u64| {
        let entry = ZipEntry { claimed_size: Some(size), ..ZipEntry::deflated("other", vec![0; 100]) };
        refusal(open(b"", vec![("model.npz", zip(&[entry]))]))
    };
    // One below, at and above the limit: the first two fail only because nothing else is in the archive.
    assert!(claims(limits::NPZ_INFLATED_BYTES - 1).contains("img/embedding/kernel is missing"));
    assert!(claims(limits::NPZ_INFLATED_BYTES).contains("img/embedding/kernel is missing"));
    assert!(claims(limits::NPZ_INFLATED_BYTES + 1).contains("more than the 17179869184 allowed"));
    // A stream that yields more or less than the directory says.
    for size in [100, 4 << 20, 5 << 20] {
        let entry = ZipEntry { claimed_size: Some(size), ..ZipEntry::deflated("t", zeros.bytes.clone()) };
        let message = refusal(open(b"", vec![("model.npz", zip(&[entry]))]));
        assert!(message.contains("does not take") || message.contains("does not inflate"), "{message}");
    }
    let count = |count: usize| {
        let entries: Vec<_> = (0..count).map(|index| ZipEntry::stored(&format!("x{index}"), vec![])).collect();
        refusal(open(b"", vec![("model.npz", zip(&entries))]))
    };
    assert!(count(limits::NPZ_ENTRIES - 1).contains("img/embedding/kernel is missing"));
    assert!(count(limits::NPZ_ENTRIES).contains("img/embedding/kernel is missing"));
    assert!(count(limits::NPZ_ENTRIES + 1).contains("10001 entries"));
}

#[test]
fn duplicate_npz_names_are_refused() {
    let scalar = || npy("'<f4'", "False", &[1], &[0; 4]);
    let twice = zip(&[ZipEntry::stored("t", scalar()), ZipEntry::stored("t", scalar())]);
    assert!(refusal(open(b"", vec![("model.npz", twice)])).contains("stands there twice"));
    let prefixed = zip(&[ZipEntry::stored("t", scalar()), ZipEntry::stored("params/t", scalar())]);
    assert!(refusal(open(b"", vec![("model.npz", prefixed)])).contains("with and without params/"));
}
