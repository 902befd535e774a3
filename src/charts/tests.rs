use super::archive::{
    ARCHIVE_MAX_BYTES, ArchiveError, DEPTH_MAX, ENTRIES_MAX, FILE_MAX_BYTES, UNPACKED_MAX_BYTES,
    read,
};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::json;
use std::io::Write;
use tar::{EntryType, Header};
use webhooks::charts::Import;

const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\n";

/// Bytes of a tar, without the two blocks that end it.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn chart() -> Tar {
        Tar::default().file("app/Chart.yaml", CHART)
    }

    fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Tar {
        self.entry(name.as_bytes(), EntryType::Regular, contents.as_ref())
    }

    /// Names go into the header as they are: the library would refuse the hostile ones.
    fn entry(mut self, name: &[u8], kind: EntryType, contents: &[u8]) -> Tar {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn packed(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        packed(&self.0)
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn refused(bytes: &[u8]) -> ArchiveError {
    read(bytes, &[]).unwrap_err()
}

#[test]
fn what_decides_on_values_is_read() {
    let inner = Tar::default()
        .file(
            "inner/Chart.yaml",
            "name: inner\nversion: '2'\ntype: library\n",
        )
        .file("inner/values.yaml", "a: 1\na: 2\n")
        .packed();
    let bytes = Tar::default()
        .entry(b"app/", EntryType::Directory, b"")
        .file(
            "app/Chart.yaml",
            "\u{feff}apiVersion: v2\nname: app\nversion: 1.2\ndependencies:\n- name: sub\n  version: 1\n  alias: other\n  \
             condition: other.enabled\n  tags: [a, 1]\n  import-values: [data, {child: a, parent: b.c}]\n",
        )
        .file("app/values.yaml", "a: {b: 1}\n---\na: 2\n")
        .file("app/values-big.yaml", "a: {b: null}\n")
        .file("app/values.schema.json", "{}")
        .file("app/templates/x.yaml", "{{ nothing }}")
        .file("app/README.md", [0xff, 0xfe])
        .file("app/charts/sub/Chart.yaml", "name: sub\nversion: 1.0.0\n")
        .file("app/charts/sub/values.schema.json", "{")
        .file("app/charts/sub/templates/x.yaml", "x")
        .file("app/charts/inner-2.tgz", inner)
        .file("app/charts/inner-2.tgz.prov", "x")
        .file("app/charts/_hidden/x", "x")
        .packed();
    let unpacked = read(&bytes, &["values-big.yaml", "values-none.yaml"]).unwrap();
    assert_eq!(unpacked.values_files.len(), 1);
    assert_eq!(
        unpacked.values_files["values-big.yaml"],
        json!({"a": {"b": null}})
    );
    let chart = unpacked.chart;
    assert_eq!(
        (chart.name.as_str(), chart.version.as_str()),
        ("app", "1.2")
    );
    assert_eq!(chart.values, json!({"a": {"b": 1}}));
    assert_eq!(chart.schema.as_deref(), Some("{}"));
    let dependency = &chart.dependencies.unwrap()[0];
    assert_eq!(dependency.version, "1");
    assert_eq!(dependency.alias.as_deref(), Some("other"));
    assert_eq!(dependency.condition, "other.enabled");
    assert_eq!(dependency.tags, ["a", "1"]);
    assert_eq!(
        dependency.import_values,
        [
            Import::Exported("data".to_owned()),
            Import::At {
                child: "a".to_owned(),
                parent: "b.c".to_owned()
            }
        ]
    );
    let names: Vec<&str> = chart
        .subcharts
        .iter()
        .map(|chart| chart.name.as_str())
        .collect();
    assert_eq!(names, ["inner", "sub"]);
    assert!(chart.subcharts[0].is_library);
    assert_eq!(chart.subcharts[0].values, json!({"a": 2}));
    assert_eq!(chart.subcharts[1].schema.as_deref(), Some("{"));
}

#[test]
fn dependencies_of_the_first_api_version_are_read() {
    let bytes = Tar::chart()
        .file(
            "app/requirements.yaml",
            "dependencies:\n- {name: a, version: 1.0.0}\n",
        )
        .packed();
    let chart = read(&bytes, &[]).unwrap().chart;
    assert_eq!(chart.dependencies.unwrap()[0].name, "a");
}

#[test]
fn names_may_be_long_and_come_from_windows() {
    let long = format!("app/templates/{}.yaml", "x".repeat(300));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    builder
        .append_data(&mut header, &long, b"x".as_slice())
        .unwrap();
    let tar = Tar(builder.into_inner().unwrap()[..2048].to_vec());
    let bytes = tar
        .entry(b"pax", EntryType::XGlobalHeader, b"")
        .file("app\\Chart.yaml", CHART)
        .entry(b"pax", EntryType::XHeader, b"24 path=app/values.yaml\n")
        .file("app/short", "a: 1")
        .packed();
    let chart = read(&bytes, &[]).unwrap().chart;
    assert_eq!(chart.name, "app");
    assert_eq!(chart.values, json!({"a": 1}));
}

#[test]
fn what_follows_the_end_is_not_read() {
    let mut bytes = Tar::chart().packed();
    bytes.extend_from_slice(b"and more that is no gzip at all");
    assert!(read(&bytes, &[]).is_ok());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in [
        "/etc/passwd",
        "../values.yaml",
        "app/../../values.yaml",
        "app/charts/../values.yaml",
        "app/templates/..",
        "app//etc/passwd",
        "app/c:/x",
        "c:/x",
        "..\\values.yaml",
        "app\\..\\values.yaml",
        "Chart.yaml",
        "app",
        "\\etc",
    ] {
        let bytes = Tar::chart().file(name, "").packed();
        let error = refused(&bytes);
        assert!(
            matches!(&error, ArchiveError::Outside(found) if found == name),
            "{name:?}: {error}"
        );
    }
    for name in ["/etc/", "../", "app/../../"] {
        let bytes = Tar::chart()
            .entry(name.as_bytes(), EntryType::Directory, b"")
            .packed();
        assert!(
            matches!(refused(&bytes), ArchiveError::Outside(_)),
            "{name}"
        );
    }
    let bytes = Tar::chart()
        .entry(b"app/\xff\xfe", EntryType::Regular, b"")
        .packed();
    assert!(matches!(refused(&bytes), ArchiveError::NameNotUtf8(_)));
}

#[test]
fn only_files_and_folders_are_taken() {
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::GNULongLink,
        EntryType::new(b'?'),
    ] {
        let bytes = Tar::chart().entry(b"app/values.yaml", kind, b"").packed();
        let error = refused(&bytes);
        assert!(
            matches!(error, ArchiveError::NotAFile { .. }),
            "{kind:?}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    for name in [
        "app/Chart.yaml",
        "app/./Chart.yaml",
        "other/Chart.yaml",
        "app\\Chart.yaml",
    ] {
        let bytes = Tar::chart().file(name, CHART).packed();
        let error = refused(&bytes);
        assert!(matches!(error, ArchiveError::Twice(_)), "{name}: {error}");
    }
    let inner = Tar::chart().packed();
    let bytes = Tar::chart()
        .file("app/charts/a.tgz", &inner)
        .file("app/charts/a.tgz", &inner)
        .packed();
    assert!(matches!(refused(&bytes), ArchiveError::Twice(_)));
}

#[test]
fn a_bomb_is_put_out() {
    // 120 MiB of files, each within its limit.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let piece = Tar::default().file("app/templates/x", vec![0; 4 << 20]).0;
    for _ in 0..30 {
        encoder.write_all(&piece).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    assert!(bytes.len() < 1 << 20);
    assert!(matches!(refused(&bytes), ArchiveError::UnpackedTooLarge));
    // The same in layers: what subcharts unpack to counts too.
    let mut tar = Tar::chart();
    for number in 0..3 {
        let mut inner = Tar::chart();
        for _ in 0..12 {
            inner = inner.file("app/templates/x", vec![0; 4 << 20]);
        }
        tar = tar.file(&format!("app/charts/{number}.tgz"), inner.packed());
    }
    assert!(matches!(
        refused(&tar.packed()),
        ArchiveError::UnpackedTooLarge
    ));
    // Much to keep.
    let mut tar = Tar::chart();
    for number in 0..9 {
        let schema = format!("app/charts/{number}/values.schema.json");
        tar = tar.file(&schema, vec![b' '; 4 << 20]);
    }
    assert!(matches!(refused(&tar.packed()), ArchiveError::KeptTooLarge));
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let max = usize::try_from(FILE_MAX_BYTES).unwrap();
    for name in ["app/values.yaml", "app/templates/x"] {
        let bytes = Tar::chart().file(name, vec![b' '; max + 1]).packed();
        let error = refused(&bytes);
        assert!(
            matches!(error, ArchiveError::FileTooLarge { .. }),
            "{error}"
        );
        let bytes = Tar::chart().file(name, vec![b' '; max]).packed();
        assert!(read(&bytes, &[]).is_ok(), "{name}");
    }
    // A size that the header only claims.
    let mut header = Header::new_gnu();
    header.set_path("app/values.yaml").unwrap();
    header.set_size(UNPACKED_MAX_BYTES * 1000);
    header.set_cksum();
    let mut tar = Tar::chart();
    tar.0.extend_from_slice(header.as_bytes());
    assert!(matches!(
        refused(&tar.packed()),
        ArchiveError::FileTooLarge { .. }
    ));
    assert!(matches!(
        refused(&vec![0; ARCHIVE_MAX_BYTES + 1]),
        ArchiveError::ArchiveTooLarge { .. }
    ));
}

#[test]
fn a_million_entries_are_not_counted_to_the_end() {
    let block = Tar::default().file("app/x", "").0;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..1_000 {
        encoder.write_all(&block.repeat(1_000)).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    assert!(bytes.len() < ARCHIVE_MAX_BYTES);
    assert!(matches!(refused(&bytes), ArchiveError::TooManyEntries));
    let mut tar = Tar::chart();
    tar.0.extend(block.repeat(ENTRIES_MAX - 1));
    assert!(read(&tar.packed(), &[]).is_ok());
}

#[test]
fn headers_are_bounded_too() {
    let long = vec![b'x'; 1 << 20];
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let bytes = Tar::chart()
            .entry(b"x", kind, &long)
            .file("app/x", "")
            .packed();
        assert!(
            matches!(refused(&bytes), ArchiveError::NameTooLong),
            "{kind:?}"
        );
    }
    // Another size than that of the data would shift what is read as a header.
    let bytes = Tar::chart()
        .entry(b"x", EntryType::XHeader, b"12 size=512\n")
        .file("app/x", "")
        .packed();
    assert!(matches!(refused(&bytes), ArchiveError::FileTooLarge { .. }));
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| {
        let mut tar = Tar::chart();
        for depth in 1..=levels {
            let path = format!("app{}/Chart.yaml", "/charts/a".repeat(depth));
            tar = tar.file(&path, "name: a\nversion: 1.0.0\n");
        }
        // Names in old headers are short.
        tar.packed()
    };
    assert!(read(&nested(DEPTH_MAX), &[]).is_ok());
    assert!(matches!(
        refused(&nested(DEPTH_MAX + 1)),
        ArchiveError::TooDeep { .. }
    ));
    let mut bytes = Tar::chart().packed();
    for level in 1..=DEPTH_MAX + 1 {
        bytes = Tar::chart().file("app/charts/a.tgz", &bytes).packed();
        match read(&bytes, &[]) {
            Ok(_) => assert!(level <= DEPTH_MAX),
            Err(error) => {
                assert!(level > DEPTH_MAX, "{error}");
                assert!(matches!(error, ArchiveError::TooDeep { .. }), "{error}");
            }
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let whole = Tar::chart()
        .file(
            "app/values.yaml",
            (0..20_000_u32)
                .flat_map(u32::to_le_bytes)
                .collect::<Vec<u8>>(),
        )
        .packed();
    for bytes in [
        &b""[..],
        b"name: app",
        &whole[..10],
        &whole[..whole.len() / 2],
        &packed(b"no tar at all"),
        &packed(&[b'x'; 2048]),
    ] {
        let error = refused(bytes);
        assert!(
            matches!(error, ArchiveError::Broken(_) | ArchiveError::NoChart(_)),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_chart_is_refused() {
    let only = |name: &str, text: &str| Tar::default().file(name, text).packed();
    for (bytes, wanted) in [
        (Tar::default().packed(), "Chart.yaml is missing"),
        (only("app/values.yaml", ""), "Chart.yaml is missing"),
        (
            Tar::chart().file("app/charts/a/x", "").packed(),
            "charts/a/Chart.yaml is missing",
        ),
        (
            Tar::chart().file("app/charts/README.md", "").packed(),
            "charts/README.md/Chart.yaml is missing",
        ),
        (
            Tar::chart().file("app/charts/a.tgz", "x").packed(),
            "not an archive",
        ),
        (
            Tar::chart().file("app/charts/a.tgz/x", "x").packed(),
            "a packed chart is a file",
        ),
        (only("app/Chart.yaml", "name: [\n"), "Chart.yaml: line"),
        (only("app/Chart.yaml", "- a"), "must be a map"),
        (only("app/Chart.yaml", ""), "must be a map"),
        (
            only("app/Chart.yaml", "version: 1.0.0"),
            "name \"\" is not allowed",
        ),
        (
            only("app/Chart.yaml", "name: a/b\nversion: 1.0.0"),
            "is not allowed",
        ),
        (
            only("app/Chart.yaml", "name: {}\nversion: 1.0.0"),
            "name must be a string",
        ),
        (
            only("app/Chart.yaml", "name: a\nversion: x"),
            "is not a semantic version",
        ),
        (
            only("app/Chart.yaml", "name: a\nversion: 1\ntype: thing"),
            "application or library",
        ),
        (
            only("app/Chart.yaml", "name: a\nversion: 1\ndependencies: {}"),
            "must be a list",
        ),
        (
            only(
                "app/Chart.yaml",
                "name: a\nversion: 1\ndependencies: [null]",
            ),
            "list of maps",
        ),
        (
            only(
                "app/Chart.yaml",
                "name: a\nversion: 1\ndependencies: [{name: a}, {name: b, alias: a}]",
            ),
            "more than one dependency",
        ),
        (
            only(
                "app/Chart.yaml",
                "name: a\nversion: 1\ndependencies: [{name: a, alias: 'a b'}]",
            ),
            "alias \"a b\" is not allowed",
        ),
        (
            Tar::chart().file("app/values.yaml", "[1]").packed(),
            "values.yaml: must be a map",
        ),
        (
            Tar::chart().file("app/values.yaml", [0xff]).packed(),
            "values.yaml: invalid utf-8",
        ),
        (
            Tar::chart()
                .file("app/values.yaml", "[".repeat(10_000))
                .packed(),
            "values.yaml: line 1",
        ),
    ] {
        let error = refused(&bytes).to_string();
        assert!(error.contains(wanted), "{wanted:?}: {error}");
    }
    let bytes = Tar::chart().file("app/more.yaml", "a").packed();
    assert!(read(&bytes, &["more.yaml"]).is_err());
    assert!(read(&bytes, &[]).is_ok());
}

#[test]
fn a_bad_schema_is_read_and_judged_later() {
    let bytes = Tar::chart().file("app/values.schema.json", "{").packed();
    let chart = read(&bytes, &[]).unwrap().chart;
    let judgement = webhooks::charts::Compiled::new(&chart)
        .judge(&webhooks::contract::FieldPath::default(), &json!({}));
    assert!(!judgement.accepts());
    assert!(judgement.violations[0].message().contains("is no JSON"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = read(&bytes, &["values-x.yaml"]);
        let _ = read(&packed(&bytes), &["values-x.yaml"]);
    }

    #[test]
    fn a_good_archive_with_bad_bytes_never_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let inner = Tar::chart().packed();
        let mut tar = Tar::chart()
            .file("app/values.yaml", "a: &x {b: 1}\nc: *x\n")
            .file("app/charts/a.tgz", inner)
            .0;
        for (index, byte) in flips {
            let position = index.index(tar.len());
            tar[position] ^= byte;
        }
        let bytes = packed(&tar);
        let _ = read(&bytes, &[]);
        let _ = read(&bytes[..end.index(bytes.len())], &[]);
    }

    #[test]
    fn any_file_never_panics(text in ".{0,60}", name in "(app/)?(charts/[ab]/)?(Chart.yaml|values.yaml|[a-z./\\\\]{0,12})") {
        let _ = read(&Tar::chart().file(&name, &text).packed(), &[]);
        let _ = read(&Tar::default().file("app/Chart.yaml", &text).packed(), &[]);
    }
}
