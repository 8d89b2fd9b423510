//! Code tables (代码表): where they come from, their history, and the states that registers name by them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use huiliu::config::Workspace;

fn workspace() -> Workspace {
    Workspace::load(Path::new(".")).unwrap_or_else(|problems| panic!("{}", huiliu::error::render(&problems)))
}

/// Rows of a CSV file without quotes, below its header.
fn rows(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines =
        text.trim_start_matches('\u{feff}').lines().map(str::trim_end).filter(|line| !line.starts_with('#'));
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines.map(|line| header.iter().copied().zip(line.split(',')).collect()).collect()
}

#[test]
fn every_table_says_where_it_comes_from() {
    for table in workspace().codes.values() {
        let text = std::fs::read_to_string(&table.file).unwrap();
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("# source: ") && first.contains(|c: char| c.is_ascii_digit()),
            "{}: {first}",
            table.file
        );
    }
}

#[test]
fn states_are_codes_of_their_tables() {
    let workspace = workspace();
    for (register, field, table) in [
        ("enterprise", "status_code", "enterprise_status"),
        ("license", "status_code", "license_status"),
        ("seal", "status_code", "seal_status"),
        ("person", "card_status_code", "card_status"),
    ] {
        let states = workspace.registers[register].field(field).unwrap().states.as_ref().unwrap();
        let states: BTreeSet<&str> = states.table().into_keys().collect();
        let codes: BTreeSet<&str> = workspace.codes[table].codes.keys().map(String::as_str).collect();
        assert_eq!(states, codes, "{register}.{field}");
    }
}

#[test]
fn qingdaos_divisions_and_their_ends_are_those_of_the_revisions() {
    let Some(file) = crate::testing::shared("data/codes/qingdao_region_history.csv") else { return };
    let text = std::fs::read_to_string(file).unwrap();
    let region = &workspace().codes["region"];
    for row in rows(&text) {
        let (code, last) = (row["code"], row["last_revision"]);
        // 市辖区 is no place; 370271 was a statistician's; 370222 ended as 即墨县 and lives on as a registration authority.
        if ["370201", "370271", "370222"].contains(&code) {
            continue;
        }
        assert!(region.codes.contains_key(code), "{code} {} is missing", row["name"]);
        assert_eq!(region.codes[code], row["name"], "{code}");
        assert_eq!(region.historic.contains_key(code), last < "201904", "{code} was last seen in {last}");
    }
    for (code, successor) in &region.historic {
        let mut last = successor.as_deref().unwrap_or_else(|| panic!("{code} has no successor"));
        while let Some(Some(next)) = region.historic.get(last) {
            last = next;
        }
        assert!(!region.historic.contains_key(last), "{code} leads to {last}");
    }
}

#[test]
fn divisions_of_industry_are_those_of_the_standard() {
    let codes = workspace().codes;
    let divisions = &codes["industry_division"];
    let text = std::fs::read_to_string(&divisions.file).unwrap();
    assert_eq!(divisions.codes.len(), 97);
    for row in rows(&text) {
        assert!(codes["industry"].codes.contains_key(row["parent"]), "{row:?}");
    }
    let Some(file) = crate::testing::shared("data/codes/gbt4754.csv") else { return };
    let text = std::fs::read_to_string(file).unwrap();
    let standard: BTreeMap<&str, &str> =
        rows(&text).into_iter().filter(|row| row["level"] == "大类").map(|row| (row["code"], row["name"])).collect();
    assert_eq!(
        divisions.codes.keys().map(String::as_str).collect::<Vec<_>>(),
        standard.keys().copied().collect::<Vec<_>>()
    );
    // The copy that lies here cut one name short.
    let differ = divisions.codes.iter().filter(|(code, name)| !name.starts_with(standard[code.as_str()]));
    assert_eq!(differ.count(), 0);
}

/// A row's region is read from whatever code it has; a historic or unknown one is noted, and no row is refused for it.
#[test]
fn region_digits_warn_and_never_reject() {
    use huiliu::mapping::values::region;
    for (code, expected, note) in [
        ("370202", Some("370202"), None),
        ("370205", Some("370203"), Some("region_historic")),
        ("370284", Some("370211"), Some("region_historic")),
        ("370220", Some("370220"), Some("region_zone")),
        ("370222", Some("370222"), Some("region_zone")),
        ("370299", Some("370299"), Some("region_unknown")),
        ("990000", Some("990000"), Some("region_unknown")),
    ] {
        let read = region(code, None).unwrap_or_else(|refusal| panic!("{code}: {}", refusal.code));
        assert_eq!((read.value.as_deref(), read.notes.first().copied()), (expected, note), "{code}");
    }
    for (code, successor) in &workspace().codes["region"].historic {
        if code.starts_with("3702") {
            let read = region(code, None).unwrap();
            let mut last = successor.clone().unwrap();
            while let Some(Some(next)) = workspace().codes["region"].historic.get(&last) {
                last.clone_from(next);
            }
            assert_eq!(read.value.as_deref(), Some(last.as_str()), "the table and the conversion agree about {code}");
        }
    }
}
