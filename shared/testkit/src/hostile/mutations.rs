//! An endless sequence of damaged pictures, made from valid ones.

use super::{
    bombs, endless_exif_webp, huffman_bomb_webp, inflating_profile_png, inflating_text_png,
    parts::{Kind, Part, join, split},
    random::Random,
    tem_huge_jpeg,
};
use anyhow::{Context as _, Result, ensure};
use std::{fs, path::Path};

/// A valid picture, and its name.
struct Base {
    name: String,
    kind: Kind,
    file: Vec<u8>,
}

/// Damaged pictures in the order that the seed gives, each with the kind of its damage and the picture it was. The
/// whole ones are those in `folders`, in the order of their names.
///
/// # Errors
/// A folder can't be read, or there is no picture.
pub fn mutations(seed: u64, folders: &[&Path]) -> Result<impl Iterator<Item = (String, Vec<u8>)>> {
    let mut bases = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder)
            .with_context(|| format!("{}: can't read the folder", folder.display()))?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.is_file()) {
            let file = fs::read(path).with_context(|| format!("{}: can't read", path.display()))?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            bases.extend(Kind::of(&file).map(|kind| Base { name, kind, file }));
        }
    }
    ensure!(!bases.is_empty(), "no picture in {folders:?}");
    let bombs = bombs();
    let mut random = Random::new(seed);
    Ok(std::iter::repeat_with(move || {
        mutation(&mut random, &bases, &bombs)
    }))
}

/// One in 64 is a bomb. The others have one kind of damage, some two.
fn mutation(random: &mut Random, bases: &[Base], bombs: &[(&str, Vec<u8>)]) -> (String, Vec<u8>) {
    if random.below(64) == 0 {
        return bomb(random, bases, bombs);
    }
    let base = random.of(bases);
    let (way, mut file) = damage(random, base, &base.file, bases);
    if random.below(4) == 0 {
        file = damage(random, base, &file, bases).1;
    }
    (format!("{way}: {}", base.name), file)
}

fn bomb(random: &mut Random, bases: &[Base], bombs: &[(&str, Vec<u8>)]) -> (String, Vec<u8>) {
    let named = |name: &str, file| (format!("bomb: {name}"), file);
    match random.below(bombs.len() + 5) {
        0 => named("Huffman groups", huffman_bomb_webp(1 << random.below(17))),
        1 => named("endless EXIF", endless_exif_webp()),
        2 => named(
            "inflating profile",
            inflating_profile_png(1 << random.below(7)),
        ),
        3 => named("inflating text", inflating_text_png(1 << random.below(7))),
        4 => {
            let base = bases.iter().find(|base| base.kind == Kind::Jpeg);
            named(
                "frame within a segment",
                tem_huge_jpeg(base.map_or(&[0xff, 0xd8], |base| &base.file)),
            )
        }
        at => named(bombs[at - 5].0, bombs[at - 5].1.clone()),
    }
}

fn damage(
    random: &mut Random,
    base: &Base,
    file: &[u8],
    bases: &[Base],
) -> (&'static str, Vec<u8>) {
    let mut damaged = file.to_vec();
    match random.below(10) {
        0 => {
            damaged.truncate(random.below(file.len()));
            ("truncated", damaged)
        }
        1 => {
            flip_bits(random, &mut damaged, file.len());
            ("bits flipped", damaged)
        }
        2 => {
            flip_bits(random, &mut damaged, 256);
            ("bits of the header flipped", damaged)
        }
        3 => {
            overwrite(random, &mut damaged);
            ("bytes overwritten", damaged)
        }
        4 => {
            let at = random.below(file.len());
            let end = (at + random.below(64)).min(file.len());
            if random.below(2) == 0 {
                damaged.drain(at..end);
            } else {
                damaged.splice(at..at, file[at..end].to_vec());
            }
            ("bytes removed or doubled", damaged)
        }
        5 => {
            lie(random, base.kind, &mut damaged);
            ("lying header", damaged)
        }
        6 => ("two files in one", polyglot(random, file, bases)),
        _ => ("parts changed", surgery(random, base, file, bases)),
    }
}

fn flip_bits(random: &mut Random, file: &mut [u8], reach: usize) {
    let reach = reach.min(file.len());
    for _ in 0..=random.below(16) {
        if let Some(byte) = file.get_mut(random.below(reach)) {
            *byte ^= 1 << random.below(8);
        }
    }
}

fn overwrite(random: &mut Random, file: &mut [u8]) {
    let at = random.below(file.len());
    let end = (at + 1 + random.below(32)).min(file.len());
    let value = *random.of(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]);
    if let Some(bytes) = file.get_mut(at..end) {
        bytes.fill(value);
    }
}

/// Numbers at which decoders go wrong.
const SIDES: [u32; 12] = [
    0,
    1,
    2,
    255,
    16_383,
    16_384,
    32_768,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];

/// Writes another width or height where the format has them.
fn lie(random: &mut Random, kind: Kind, file: &mut Vec<u8>) {
    let side = *random.of(&SIDES);
    let second = random.below(2);
    match kind {
        Kind::Bmp => put(file, 18 + 4 * second, &side.to_le_bytes()),
        Kind::Png | Kind::Jpeg | Kind::Webp => {
            let mut parts = split(kind, file);
            let body =
                |name: &dyn Fn(&[u8]) -> bool, parts: &mut [Part], at: usize, bytes: &[u8]| {
                    if let Some(part) = parts.iter_mut().find(|part| name(&part.name)) {
                        put(&mut part.body, at, bytes);
                    }
                };
            match kind {
                Kind::Png => body(
                    &|name| name == b"IHDR",
                    &mut parts,
                    4 * second,
                    &side.to_be_bytes(),
                ),
                Kind::Jpeg => {
                    let frame = |name: &[u8]| matches!(name, [0xc0..=0xc2]);
                    body(
                        &frame,
                        &mut parts,
                        1 + 2 * second,
                        &(side as u16).to_be_bytes(),
                    );
                }
                _ => {
                    body(
                        &|name| name == b"VP8X",
                        &mut parts,
                        4 + 3 * second,
                        &side.to_le_bytes()[..3],
                    );
                    body(
                        &|name| name == b"VP8 ",
                        &mut parts,
                        6 + 2 * second,
                        &(side as u16).to_le_bytes(),
                    );
                    body(&|name| name == b"VP8L", &mut parts, 1, &side.to_le_bytes());
                }
            }
            *file = join(kind, &parts);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

/// One file after another, or within a part of it that decoders skip.
fn polyglot(random: &mut Random, file: &[u8], bases: &[Base]) -> Vec<u8> {
    let other = random.of(bases);
    let other = if random.below(4) == 0 {
        &b"GIF89a\x01\0\x01\0\0\0\0;"[..]
    } else {
        &other.file
    };
    let Some(kind) = Kind::of(file).filter(|_| random.below(2) == 0) else {
        return [file, other].concat();
    };
    let mut parts = split(kind, file);
    let names: &[&[u8]] = match kind {
        Kind::Jpeg => &[&[0xfe], &[0xe1], &[0xe2], &[0xed], &[0x01]],
        Kind::Png => &[b"tEXt", b"eXIf", b"iCCP", b"zTXt", b"abCd"],
        Kind::Webp | Kind::Bmp => &[b"EXIF", b"XMP ", b"ICCP", b"ABCD"],
    };
    let inside = Part {
        name: random.of(names).to_vec(),
        body: other[..other.len().min(65_000)].to_vec(),
        length: None,
        coded: Vec::new(),
    };
    parts.insert(random.below(parts.len() + 1), inside);
    if kind == Kind::Bmp {
        [file, other].concat()
    } else {
        join(kind, &parts)
    }
}

/// Parts removed, doubled, swapped, taken from another file, with another length, with other bytes under a right CRC.
fn surgery(random: &mut Random, base: &Base, file: &[u8], bases: &[Base]) -> Vec<u8> {
    let mut parts = split(base.kind, file);
    if parts.is_empty() {
        let mut file = file.to_vec();
        overwrite(random, &mut file);
        return file;
    }
    let at = random.below(parts.len());
    match random.below(7) {
        0 => drop(parts.remove(at)),
        1 => parts.insert(at, parts[at].clone()),
        2 => {
            let other = random.below(parts.len());
            parts.swap(at, other);
        }
        3 => {
            let same: Vec<_> = bases
                .iter()
                .filter(|other| other.kind == base.kind)
                .collect();
            let others = split(base.kind, &random.of(&same).file);
            if !others.is_empty() {
                parts.insert(at, random.of(&others).clone());
            }
        }
        4 => parts[at].length = Some(*random.of(&SIDES)),
        5 => flip_bits(random, &mut parts[at].body, usize::MAX),
        _ => {
            let body = &mut parts[at].body;
            body.truncate(random.below(body.len()));
        }
    }
    join(base.kind, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vision/tests/fixtures")
    }

    #[test]
    fn the_same_seed_gives_the_same_pictures() {
        let folder = samples();
        let first = |seed| -> Vec<_> { mutations(seed, &[&folder]).unwrap().take(300).collect() };
        assert!(first(1) == first(1));
        assert!(first(1) != first(2));
    }

    #[test]
    fn every_kind_of_damage_comes() {
        let folder = samples();
        let mut kinds = std::collections::BTreeSet::new();
        for (what, file) in mutations(7, &[&folder]).unwrap().take(2_000) {
            assert!(file.len() < 1 << 24, "{what}");
            kinds.insert(what.split(':').next().unwrap().to_owned());
        }
        assert_eq!(kinds.len(), 9, "{kinds:?}");
    }

    #[test]
    fn a_folder_without_pictures_is_an_error() {
        let error = mutations(1, &[Path::new("no-such-folder")])
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("no-such-folder"), "{error}");
    }
}
