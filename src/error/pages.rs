//! The page behind every code: cause, what to do, what not to do. The files are `docs/errors/HLnnnn.md`.
//!
//! Guarantees (by test): every code that the program can print has a page, and every page has a code.

/// One page, as `huiliu explain CODE` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// `HL` and four digits.
    pub code: &'static str,
    /// Markdown.
    pub text: &'static str,
}

impl Page {
    /// The heading without the code.
    pub fn title(&self) -> &'static str {
        let heading = self.text.lines().next().unwrap_or_default();
        heading.split_once(" — ").map_or(heading, |(_, title)| title)
    }
}

macro_rules! pages {
    ($($code:literal)*) => {
        &[$(Page { code: $code, text: include_str!(concat!("../../docs/errors/", $code, ".md")) }),*]
    };
}

/// Every page, by code.
pub const PAGES: &[Page] = pages![
    "HL0101" "HL0102" "HL0103" "HL0104" "HL0105" "HL0106" "HL0107" "HL0108"
    "HL0109" "HL0110" "HL0111" "HL0112" "HL0113" "HL0114" "HL0115" "HL0116"
    "HL0117" "HL0118" "HL0119" "HL0120" "HL0121" "HL0122" "HL0123" "HL0124" "HL0130"
    "HL0131" "HL0132" "HL0133" "HL0134" "HL0135" "HL0136" "HL0137" "HL0138"
    "HL0139" "HL0140" "HL0141" "HL0142" "HL0143" "HL0144" "HL0145" "HL0146"
    "HL0147" "HL0148" "HL0160" "HL0161" "HL0164" "HL0201" "HL0202" "HL0204"
    "HL0205" "HL0206" "HL0207" "HL0208" "HL0209" "HL0210" "HL0211" "HL0212"
    "HL0213" "HL0214" "HL0215" "HL0216" "HL0217" "HL0218" "HL0219" "HL0220"
    "HL0301" "HL0302" "HL0303" "HL0304" "HL0305" "HL0310" "HL0311" "HL0312"
    "HL0313" "HL0314" "HL0315" "HL0316" "HL0317" "HL0318" "HL0319" "HL0320"
    "HL0321" "HL0322" "HL0323" "HL0324" "HL0330" "HL0331" "HL0332" "HL0333" "HL0334"
    "HL0335" "HL0336" "HL0337" "HL0338" "HL0339" "HL0340" "HL0341" "HL0342" "HL0343"
    "HL0344" "HL0345" "HL0346" "HL0350" "HL0351" "HL0352" "HL0353" "HL0354"
    "HL0355" "HL0356" "HL0357" "HL0358" "HL0359" "HL0370" "HL0371" "HL0380"
    "HL0381" "HL0382" "HL0383" "HL0384" "HL0385" "HL0390" "HL0391" "HL0401"
    "HL0402" "HL0403" "HL0404" "HL0405" "HL0406" "HL0407" "HL0408" "HL0409"
    "HL0410" "HL0411" "HL0412" "HL0413" "HL0414" "HL0501" "HL0502" "HL0503"
    "HL0504" "HL0505" "HL0506" "HL0507" "HL0510" "HL0511" "HL0512" "HL0513"
    "HL0514" "HL0515" "HL0516" "HL0517" "HL0518" "HL0519" "HL0599" "HL0610" "HL0611" "HL0612" "HL0613"
    "HL0620" "HL0650" "HL0651" "HL0652" "HL0653" "HL0654" "HL0655" "HL0656"
    "HL0657" "HL0658" "HL0659" "HL0660" "HL0661" "HL0662" "HL0663" "HL0664"
    "HL0701" "HL0702" "HL0703" "HL0704" "HL0705" "HL0706" "HL0707" "HL0708"
    "HL0709" "HL0710" "HL0711" "HL0712" "HL0713" "HL0714" "HL0715" "HL0716"
    "HL0717" "HL0718" "HL0719" "HL0720" "HL0721" "HL0722" "HL0723" "HL0724" "HL0725"
    "HL0726" "HL0727" "HL0728" "HL0730" "HL0731" "HL0732" "HL0733" "HL0734"
    "HL0735" "HL0736" "HL0737" "HL0738" "HL0739" "HL0740" "HL0741" "HL0742"
    "HL0743" "HL0744" "HL0745" "HL0746" "HL0747" "HL0750" "HL0751" "HL0752"
    "HL0753" "HL0754" "HL0755" "HL0756" "HL0760" "HL0761" "HL0762" "HL0763"
    "HL0764" "HL0765" "HL0766" "HL0770" "HL0771" "HL0772" "HL0773" "HL0774"
    "HL0775" "HL0776" "HL0777" "HL0778" "HL0779" "HL0780" "HL0781" "HL0782"
    "HL0783" "HL0784" "HL0785" "HL0801" "HL0802" "HL0803" "HL0804" "HL0810"
    "HL0811" "HL0812" "HL0813" "HL0815" "HL0816" "HL0817" "HL0818" "HL0820"
    "HL0821" "HL0822" "HL0823" "HL0824" "HL0825" "HL0826" "HL0901" "HL0902"
    "HL0903" "HL0904" "HL0905" "HL0920" "HL0921" "HL0922" "HL0923" "HL0924"
    "HL0925" "HL0926" "HL0927" "HL0928" "HL0929" "HL0930" "HL0931" "HL0932"
    "HL0933" "HL0934" "HL0935" "HL0936"
];

/// The page of a code, however it was typed: `HL0106`, `hl0106`, `0106`, `106`.
pub fn page(typed: &str) -> Option<&'static Page> {
    let code = canonical(typed)?;
    PAGES.iter().find(|page| page.code == code)
}

/// `HL` and four digits from what a person typed.
fn canonical(typed: &str) -> Option<String> {
    let upper = typed.trim().to_ascii_uppercase();
    let digits = upper.strip_prefix("HL").unwrap_or(&upper);
    let number: u16 = digits.parse().ok()?;
    Some(format!("HL{number:04}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let root = Path::new("."); // tests run in the package's root
        let mut printed = BTreeSet::new();
        codes_below(&root.join("src"), &mut printed);
        let on_disk: BTreeSet<String> = fs::read_dir(root.join("docs/errors"))
            .expect("docs/errors is a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace(".md", ""))
            .collect();
        let listed: BTreeSet<String> = PAGES.iter().map(|page| page.code.to_owned()).collect();
        assert_eq!(printed, on_disk, "left: codes in src, right: pages in docs/errors");
        assert_eq!(listed, on_disk, "left: PAGES, right: pages in docs/errors");
    }

    #[test]
    fn pages_are_in_order_and_have_the_three_parts() {
        assert!(PAGES.is_sorted_by(|a, b| a.code < b.code));
        for page in PAGES {
            assert!(page.text.starts_with(&format!("# {} — ", page.code)), "heading of {}", page.code);
            for part in ["\n## Cause\n", "\n## What to do\n", "\n## What not to do\n"] {
                assert!(page.text.contains(part), "{}: no {part:?}", page.code);
            }
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_typed() {
        for typed in ["HL0802", "hl0802", "0802", " 802 "] {
            assert_eq!(page(typed).map(|page| page.code), Some("HL0802"), "{typed:?}");
        }
        for typed in ["HL9999", "", "HL", "801x", "企业"] {
            assert_eq!(page(typed), None, "{typed:?}");
        }
    }

    /// Collects the codes that string literals begin with, `"HLnnnn"` or `"HLnnnn …"`, from all source files but this.
    fn codes_below(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).expect("a source directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                codes_below(&entry, found);
            } else if entry.extension().is_some_and(|ext| ext == "rs" || ext == "sql")
                && !entry.ends_with("error/pages.rs")
            {
                let text = fs::read_to_string(&entry).expect("source is text");
                let words = text.split(['"', '\'']).filter_map(|part| part.split(' ').next());
                let is_code = |word: &&str| {
                    word.len() == 6
                        && word.starts_with("HL")
                        && *word != "HL9999"
                        && word.bytes().skip(2).all(|b| b.is_ascii_digit())
                };
                found.extend(words.filter(is_code).map(str::to_owned));
            }
        }
    }
}
