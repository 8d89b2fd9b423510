//! The file that travels between us and a department: one row per entry, our columns first, then the contract's.
//!
//! Guarantees: what is written reads back the same; a cell that a spreadsheet program would take for a formula is text;
//! reading goes through the same decoders as department files, so a damaged or hostile file is a problem, not a panic.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use rust_xlsxwriter::{Color, Format as CellFormat, IgnoreError, Workbook, XlsxError};

use crate::config::{Encoding, Format, Report};
use crate::decode::{self, Decoded, Input, Limits, Wanted};
use crate::error::Problem;

/// Columns of ours, before the contract's.
pub(super) const OWN: [&str; 4] = ["问题编号 id", "来源文件 file", "数据行 row", "问题说明 reasons"];

/// Rows of one dataset for its department.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    /// Contract columns.
    pub(super) columns: Vec<String>,
    /// One per entry.
    pub(super) rows: Vec<SheetRow>,
}

/// One entry.
#[derive(Debug, Clone)]
pub(super) struct SheetRow {
    /// Entry.
    pub(super) id: i64,
    /// Source file.
    pub(super) file: String,
    /// Data row in it.
    pub(super) row: i64,
    /// All reasons in Chinese.
    pub(super) reasons: String,
    /// Cells in the order of the contract columns.
    pub(super) cells: Vec<Option<String>>,
    /// Indexes of the cells that the reasons are about.
    pub(super) suspects: BTreeSet<usize>,
}

/// What came back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Returned {
    /// Contract columns in the file.
    pub(super) columns: Vec<String>,
    /// Entry and its cells, in the order of `columns`.
    pub(super) rows: Vec<(i64, Vec<String>)>,
}

/// The two kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// UTF-8 with a byte order mark, so that Excel reads it.
    Csv,
    /// Cells as text, so that Excel leaves long numbers alone.
    Xlsx,
}

impl Kind {
    /// By the file's extension.
    pub(super) fn of(path: &Path) -> Result<Self, Problem> {
        let ext = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ext.as_str() {
            "csv" => Ok(Self::Csv),
            "xlsx" => Ok(Self::Xlsx),
            _ => Err(Problem::error("HL0816", format!("{} is neither .xlsx nor .csv", path.display()))
                .hint("name a file that ends in .xlsx (recommended) or .csv")),
        }
    }
}

impl Sheet {
    /// The bytes of the file.
    pub(super) fn to_bytes(&self, kind: Kind) -> Result<Vec<u8>, Problem> {
        match kind {
            Kind::Csv => Ok(self.to_csv()),
            Kind::Xlsx => self.to_xlsx().map_err(|error| {
                Problem::error("HL0816", "these rows do not fit into a workbook")
                    .detail(error.to_string())
                    .hint("write a .csv instead, or fewer rows with --dataset, --register or --code")
            }),
        }
    }

    fn to_csv(&self) -> Vec<u8> {
        let mut out = "\u{feff}".to_owned();
        let titles = OWN.iter().copied().chain(self.columns.iter().map(String::as_str));
        csv_line(&mut out, titles);
        for row in &self.rows {
            let (id, place) = (row.id.to_string(), row.row.to_string());
            let own = [id.as_str(), &row.file, &place, &row.reasons];
            csv_line(&mut out, own.into_iter().chain(row.cells.iter().map(|cell| cell.as_deref().unwrap_or(""))));
        }
        out.into_bytes()
    }

    fn to_xlsx(&self) -> Result<Vec<u8>, XlsxError> {
        let mut workbook = Workbook::new();
        let sheet = workbook.add_worksheet();
        sheet.set_name("问题数据")?;
        let head = CellFormat::new().set_bold().set_background_color(Color::RGB(0xDD_E6_F0));
        let told = CellFormat::new().set_background_color(Color::RGB(0xFF_F2_CC)).set_text_wrap();
        let suspect = CellFormat::new().set_background_color(Color::RGB(0xF8_CB_AD));
        let titles = OWN.iter().copied().chain(self.columns.iter().map(String::as_str));
        for (column, title) in (0_u16..).zip(titles) {
            sheet.write_string_with_format(0, column, title, &head)?;
            let width = if column == 3 { 48.0 } else { wide(title).clamp(10.0, 40.0) + 2.0 };
            sheet.set_column_width(column, width)?;
        }
        for (at, row) in (1_u32..).zip(&self.rows) {
            sheet.write_string(at, 0, row.id.to_string())?;
            sheet.write_string(at, 1, &row.file)?;
            sheet.write_string(at, 2, row.row.to_string())?;
            sheet.write_string_with_format(at, 3, &row.reasons, &told)?;
            for (i, (column, cell)) in (4_u16..).zip(&row.cells).enumerate() {
                let text = cell.as_deref().unwrap_or("");
                if row.suspects.contains(&i) {
                    sheet.write_string_with_format(at, column, text, &suspect)?;
                } else if !text.is_empty() {
                    sheet.write_string(at, column, text)?;
                }
            }
        }
        let last = u16::try_from(OWN.len() + self.columns.len() - 1).unwrap_or(u16::MAX);
        let bottom = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        sheet.set_freeze_panes(1, 1)?;
        sheet.autofilter(0, 0, bottom, last)?;
        sheet.ignore_error_range(0, 0, bottom, last, IgnoreError::NumberStoredAsText)?;
        workbook.save_to_buffer()
    }
}

/// Width of a title in columns of a Latin letter.
fn wide(title: &str) -> f64 {
    title.chars().map(|c| if c.is_ascii() { 1.0 } else { 2.0 }).sum()
}

/// One line, every cell quoted; what a spreadsheet would run as a formula gets an apostrophe before it.
fn csv_line<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (i, cell) in cells.enumerate() {
        out.push_str(if i == 0 { "\"" } else { ",\"" });
        if starts_like_formula(cell) {
            out.push('\'');
        }
        out.push_str(&cell.replace('"', "\"\""));
        out.push('"');
    }
    out.push_str("\r\n");
}

fn starts_like_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\''])
}

/// Takes back the apostrophe of [`csv_line`].
fn unescaped(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| starts_like_formula(rest)).unwrap_or(cell)
}

/// Writes a new file; an existing one is left alone.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let mut file = File::options().write(true).create_new(true).open(path).map_err(|error| {
        let problem = Problem::error("HL0804", format!("{} cannot be written", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => problem.detail("it exists").hint("name another file, or remove it first"),
            _ => problem.detail(error.to_string()),
        }
    })?;
    let failed = |error: io::Error| {
        Problem::error("HL0804", format!("{} cannot be written", path.display())).detail(error.to_string())
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a file that was exported and corrected.
///
/// # Errors
/// HL0816 when it cannot be read, HL0817 when it is not one that `quarantine export` made.
pub(super) fn read(path: &Path) -> Result<Returned, Problem> {
    let kind = Kind::of(path)?;
    let format = match kind {
        Kind::Csv => Format::Csv {
            encoding: Encoding::Auto, // Excel saves what it opened as UTF-8 in GBK
            delimiter: b',',
            quote: Some(b'"'),
            header: true,
            skip: 0,
            ragged: false,
        },
        Kind::Xlsx => Format::Excel {
            sheet: None,
            header_row: 1,
            repeated_header: false,
            max_cells: 50_000_000,
            report: Report::default(),
        },
    };
    let unreadable = |why: String| Problem::error("HL0816", format!("{} cannot be read", path.display())).detail(why);
    let bytes = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    let file: Arc<dyn Input> = Arc::new(LocalFile { name: path.display().to_string(), path: path.to_owned(), bytes });
    let open = |wanted: &[Wanted]| {
        decode::open(Arc::clone(&file), &format, wanted, Limits::default(), None).map_err(|e| unreadable(e.to_string()))
    };
    let titles = open(&[])?.header().columns.clone().unwrap_or_default();
    let columns = contract_columns(path, &titles)?;
    let wanted: Vec<Wanted> =
        std::iter::once(OWN[0]).chain(columns.iter().map(String::as_str)).map(Wanted::named).collect();
    let mut decoder = open(&wanted)?;
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    while let Some(chunk) = decoder.next(8192).map_err(|error| unreadable(error.to_string()))? {
        for (line, id, cells) in rows_of(path, &chunk, kind)? {
            if !seen.insert(id) {
                let problem =
                    Problem::error("HL0817", format!("{} line {line}: entry {id} is there twice", path.display()));
                return Err(problem.hint("keep one row for each entry"));
            }
            rows.push((id, cells));
        }
    }
    Ok(Returned { columns, rows })
}

/// The titles that are not ours.
fn contract_columns(path: &Path, titles: &[String]) -> Result<Vec<String>, Problem> {
    if !titles.iter().any(|title| title == OWN[0]) {
        let problem = Problem::error("HL0817", format!("{} has no column \"{}\"", path.display(), OWN[0]));
        return Err(
            problem.hint("import the file that `huiliu quarantine export` wrote, with its first line as it was")
        );
    }
    Ok(titles.iter().filter(|title| !OWN.contains(&title.as_str()) && !title.trim().is_empty()).cloned().collect())
}

/// Line, entry and cells of every row that is not blank.
fn rows_of(path: &Path, chunk: &Decoded, kind: Kind) -> Result<Vec<(u64, i64, Vec<String>)>, Problem> {
    if let Some(bad) = chunk.undecodable.first() {
        let problem = Problem::error("HL0817", format!("{} line {} cannot be read", path.display(), bad.place.line));
        return Err(problem.detail(format!("{} {}", bad.code, bad.detail)));
    }
    let mut rows = Vec::with_capacity(chunk.places.len());
    for (i, place) in chunk.places.iter().enumerate() {
        let mut cells = chunk.rows.columns().iter().map(|column| {
            let column = column.as_string::<i32>();
            if column.is_null(i) { "" } else { column.value(i) }
        });
        let id = cells.next().unwrap_or_default().trim();
        let cells: Vec<String> =
            cells.map(|cell| if kind == Kind::Csv { unescaped(cell) } else { cell }.to_owned()).collect();
        if id.is_empty() && cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let id = id.strip_suffix(".0").unwrap_or(id).parse().map_err(|_| {
            Problem::error(
                "HL0817",
                format!("{} line {}: the number of the entry is missing", path.display(), place.line),
            )
            .hint(format!("leave the column \"{}\" as it was exported", OWN[0]))
        })?;
        rows.push((place.line, id, cells));
    }
    Ok(rows)
}

/// A file on this machine.
struct LocalFile {
    name: String,
    path: PathBuf,
    bytes: u64,
}

impl Input for LocalFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(io::BufReader::new(file)))
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let row = |id, cells: [Option<&str>; 3]| SheetRow {
            id,
            file: "SW_1.xml".into(),
            row: id * 10,
            reasons: "uscc: 统一社会信用代码校验位不符 (uscc_check_digit)".into(),
            cells: cells.map(|cell| cell.map(str::to_owned)).to_vec(),
            suspects: BTreeSet::from([0]),
        };
        Sheet {
            columns: ["统一社会信用代码", "名称", "备注"].map(str::to_owned).to_vec(),
            rows: vec![
                row(7, [Some("913702001234567890"), Some("海蓝, \"青岛\""), None]),
                row(9, [Some("=cmd()"), Some("'=x"), Some("-5\n二")]),
            ],
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, name) in [(Kind::Csv, "back.csv"), (Kind::Xlsx, "back.xlsx")] {
            let path = dir.path().join(name);
            write_new(&path, &sheet().to_bytes(kind).unwrap()).unwrap();
            let back = read(&path).unwrap();
            let text = |cells: &Vec<Option<String>>| cells.iter().map(|c| c.clone().unwrap_or_default()).collect();
            let expect: Vec<(i64, Vec<String>)> = sheet().rows.iter().map(|row| (row.id, text(&row.cells))).collect();
            assert_eq!(back, Returned { columns: sheet().columns, rows: expect }, "{name}");
        }
    }

    #[test]
    fn no_cell_of_a_csv_is_a_formula() {
        let csv = String::from_utf8(sheet().to_csv()).unwrap();
        assert!(csv.contains("\"'=cmd()\"") && csv.contains("\"''=x\"") && csv.contains("\"'-5\n二\""), "{csv}");
    }

    #[test]
    fn a_file_saved_by_excel_in_gbk_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gbk.csv");
        let (bytes, ..) = encoding_rs::GB18030.encode("问题编号 id,名称\r\n7,海蓝\r\n");
        fs::write(&path, bytes).unwrap();
        let back = read(&path).unwrap();
        assert_eq!(back, Returned { columns: vec!["名称".into()], rows: vec![(7, vec!["海蓝".into()])] });
    }

    #[test]
    fn a_file_that_is_not_ours_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, text: &str, code: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap_err().code, code, "{name}");
        };
        check("other.csv", "a,b\n1,2\n", "HL0817");
        check("no-id.csv", "问题编号 id,名称\n,海蓝\n", "HL0817");
        check("twice.csv", "问题编号 id,名称\n7,a\n7,b\n", "HL0817");
        check("ragged.csv", "问题编号 id,名称\n7\n", "HL0817");
        check("not-a-workbook.xlsx", "问题编号 id,名称\n", "HL0816");
        check("letter.doc", "", "HL0816");
        assert_eq!(read(&dir.path().join("missing.csv")).unwrap_err().code, "HL0816");
    }

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corrected.csv");
        fs::write(&path, "hours of work").unwrap();
        assert_eq!(write_new(&path, b"x").unwrap_err().code, "HL0804");
        assert_eq!(fs::read_to_string(&path).unwrap(), "hours of work");
    }
}
