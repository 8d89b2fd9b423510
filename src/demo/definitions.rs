//! The project's own definition files, inside the binary, so that the demo needs no checkout.

/// Path relative to a workspace, and text, of every file under `connectors/`, `mappings/` and `pipelines/`.
pub fn definitions() -> &'static [(&'static str, &'static str)] {
    FILES
}

macro_rules! embed {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../", $path))),)*]
    };
}

const FILES: &[(&str, &str)] = embed![
    "connectors/approval.yaml",
    "connectors/e-license.yaml",
    "connectors/market-regulation.yaml",
    "connectors/science.yaml",
    "connectors/social-security.yaml",
    "connectors/tax.yaml",
    "mappings/approval/permit.enterprise.cases.yaml",
    "mappings/approval/permit.enterprise.sql",
    "mappings/approval/permit.license.cases.yaml",
    "mappings/approval/permit.license.sql",
    "mappings/codes/enterprise_status.csv",
    "mappings/codes/enterprise_type.csv",
    "mappings/codes/ethnic.csv",
    "mappings/codes/gender.csv",
    "mappings/codes/holder_type.csv",
    "mappings/codes/industry.csv",
    "mappings/codes/insured_status.csv",
    "mappings/codes/license_status.csv",
    "mappings/codes/license_type.csv",
    "mappings/codes/region.csv",
    "mappings/codes/taxpayer_status.csv",
    "mappings/e-license/certificate.license.cases.yaml",
    "mappings/e-license/certificate.license.sql",
    "mappings/market-regulation/enterprise.enterprise.cases.yaml",
    "mappings/market-regulation/enterprise.enterprise.sql",
    "mappings/market-regulation/historic_register.enterprise.cases.yaml",
    "mappings/market-regulation/historic_register.enterprise.sql",
    "mappings/market-regulation/historic_register_xls.enterprise.cases.yaml",
    "mappings/market-regulation/historic_register_xls.enterprise.sql",
    "mappings/market-regulation/legal_representative.enterprise.cases.yaml",
    "mappings/market-regulation/legal_representative.enterprise.sql",
    "mappings/market-regulation/legal_representative.person.cases.yaml",
    "mappings/market-regulation/legal_representative.person.sql",
    "mappings/registers/enterprise.yaml",
    "mappings/registers/license.yaml",
    "mappings/registers/person.yaml",
    "mappings/science/high_tech.license.cases.yaml",
    "mappings/science/high_tech.license.sql",
    "mappings/social-security/employer.enterprise.cases.yaml",
    "mappings/social-security/employer.enterprise.sql",
    "mappings/social-security/insured.person.cases.yaml",
    "mappings/social-security/insured.person.sql",
    "mappings/tax/taxpayer.enterprise.cases.yaml",
    "mappings/tax/taxpayer.enterprise.sql",
    "pipelines/certificates.yaml",
    "pipelines/employers.yaml",
    "pipelines/enterprise-registration.yaml",
    "pipelines/feeds/civil-affairs.enterprise.yaml",
    "pipelines/feeds/civil-affairs.person.yaml",
    "pipelines/feeds/housing.enterprise.yaml",
    "pipelines/feeds/housing.license.yaml",
    "pipelines/high-tech.yaml",
    "pipelines/historic-register-xls.yaml",
    "pipelines/historic-register.yaml",
    "pipelines/insured-persons.yaml",
    "pipelines/legal-representatives.yaml",
    "pipelines/permits.yaml",
    "pipelines/taxpayers.yaml",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn walk(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).expect("a directory of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn every_definition_file_of_the_project_is_embedded() {
        let mut on_disk = BTreeSet::new();
        for directory in ["connectors", "mappings", "pipelines"] {
            walk(Path::new(directory), &mut on_disk);
        }
        let embedded: BTreeSet<String> = definitions().iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn no_definition_is_empty_or_has_carriage_returns() {
        for (path, text) in definitions() {
            assert!(text.ends_with('\n') && !text.contains('\r'), "{path}");
        }
    }
}
