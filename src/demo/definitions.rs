//! The project's own definition files, inside the binary, so that the demo needs no checkout.

use std::net::SocketAddr;

use super::services::SERVICES;

/// Path relative to a workspace, and text, of every file under `connectors/`, `mappings/` and `pipelines/`.
pub fn definitions() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// The same, for [`super::Services`] that answer at another address than [`SERVICES`].
pub fn definitions_at(services: SocketAddr) -> Vec<(&'static str, String)> {
    let at = format!("http://{services}/");
    FILES.iter().map(|(path, text)| (*path, text.replace(&format!("http://{SERVICES}/"), &at))).collect()
}

macro_rules! embed {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../", $path))),)*]
    };
}

const FILES: &[(&str, &str)] = embed![
    "connectors/approval.yaml",
    "connectors/certificates.yaml",
    "connectors/citizen-card.yaml",
    "connectors/demo-only.key",
    "connectors/e-license.yaml",
    "connectors/e-seal-archive.yaml",
    "connectors/e-seal.yaml",
    "connectors/environment.yaml",
    "connectors/finance.yaml",
    "connectors/housing-construction.yaml",
    "connectors/market-regulation.yaml",
    "connectors/real-estate.yaml",
    "connectors/science.yaml",
    "connectors/social-security.yaml",
    "connectors/state-assets.yaml",
    "connectors/statistics.yaml",
    "connectors/tax-local.yaml",
    "connectors/tax.yaml",
    "mappings/approval/acceptance.license.cases.yaml",
    "mappings/approval/acceptance.license.sql",
    "mappings/approval/permit.enterprise.cases.yaml",
    "mappings/approval/permit.enterprise.sql",
    "mappings/approval/permit.license.cases.yaml",
    "mappings/approval/permit.license.sql",
    "mappings/calendar.yaml",
    "mappings/certificates/issued.license.cases.yaml",
    "mappings/certificates/issued.license.sql",
    "mappings/certificates/issued.seal.cases.yaml",
    "mappings/certificates/issued.seal.sql",
    "mappings/certificates/revoked.license.cases.yaml",
    "mappings/certificates/revoked.license.sql",
    "mappings/certificates/revoked.seal.cases.yaml",
    "mappings/certificates/revoked.seal.sql",
    "mappings/citizen-card/card.person.cases.yaml",
    "mappings/citizen-card/card.person.sql",
    "mappings/codes/budget_level.csv",
    "mappings/codes/card_status.csv",
    "mappings/codes/enterprise_status.csv",
    "mappings/codes/enterprise_type.csv",
    "mappings/codes/ethnic.csv",
    "mappings/codes/fiscal_kind.csv",
    "mappings/codes/gender.csv",
    "mappings/codes/holder_type.csv",
    "mappings/codes/industry.csv",
    "mappings/codes/industry_division.csv",
    "mappings/codes/insured_status.csv",
    "mappings/codes/license_status.csv",
    "mappings/codes/license_type.csv",
    "mappings/codes/monitor_flag.csv",
    "mappings/codes/monitor_system.csv",
    "mappings/codes/pollutant.csv",
    "mappings/codes/region.csv",
    "mappings/codes/seal_status.csv",
    "mappings/codes/seal_type.csv",
    "mappings/codes/soe_level.csv",
    "mappings/codes/tax_item.csv",
    "mappings/codes/taxpayer_status.csv",
    "mappings/codes/unit_size.csv",
    "mappings/e-license/certificate.license.cases.yaml",
    "mappings/e-license/certificate.license.sql",
    "mappings/e-seal-archive/seal.seal.cases.yaml",
    "mappings/e-seal-archive/seal.seal.sql",
    "mappings/e-seal/seal.seal.cases.yaml",
    "mappings/e-seal/seal.seal.sql",
    "mappings/environment/permit.license.cases.yaml",
    "mappings/environment/permit.license.sql",
    "mappings/environment/sample.emission.cases.yaml",
    "mappings/environment/sample.emission.sql",
    "mappings/finance/intention.fiscal.cases.yaml",
    "mappings/finance/intention.fiscal.sql",
    "mappings/finance/nontax.fiscal.cases.yaml",
    "mappings/finance/nontax.fiscal.sql",
    "mappings/finance/reconciliation.fiscal.cases.yaml",
    "mappings/finance/reconciliation.fiscal.sql",
    "mappings/housing-construction/award.fiscal.cases.yaml",
    "mappings/housing-construction/award.fiscal.sql",
    "mappings/housing-construction/construction_permit.license.cases.yaml",
    "mappings/housing-construction/construction_permit.license.sql",
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
    "mappings/real-estate/land.fiscal.cases.yaml",
    "mappings/real-estate/land.fiscal.sql",
    "mappings/real-estate/title.license.cases.yaml",
    "mappings/real-estate/title.license.sql",
    "mappings/registers/emission.yaml",
    "mappings/registers/enterprise.yaml",
    "mappings/registers/fiscal.yaml",
    "mappings/registers/license.yaml",
    "mappings/registers/person.yaml",
    "mappings/registers/seal.yaml",
    "mappings/science/high_tech.license.cases.yaml",
    "mappings/science/high_tech.license.sql",
    "mappings/social-security/employer.enterprise.cases.yaml",
    "mappings/social-security/employer.enterprise.sql",
    "mappings/social-security/insured.person.cases.yaml",
    "mappings/social-security/insured.person.sql",
    "mappings/state-assets/monthly.enterprise.cases.yaml",
    "mappings/state-assets/monthly.enterprise.sql",
    "mappings/statistics/output.fiscal.cases.yaml",
    "mappings/statistics/output.fiscal.sql",
    "mappings/statistics/unit.enterprise.cases.yaml",
    "mappings/statistics/unit.enterprise.sql",
    "mappings/tax-local/levy.fiscal.cases.yaml",
    "mappings/tax-local/levy.fiscal.sql",
    "mappings/tax/levy.fiscal.cases.yaml",
    "mappings/tax/levy.fiscal.sql",
    "mappings/tax/taxpayer.enterprise.cases.yaml",
    "mappings/tax/taxpayer.enterprise.sql",
    "pipelines/acceptances.yaml",
    "pipelines/certificates.yaml",
    "pipelines/citizen-cards.yaml",
    "pipelines/construction-permits.yaml",
    "pipelines/digital-certificates.yaml",
    "pipelines/discharge-permits.yaml",
    "pipelines/emissions.yaml",
    "pipelines/employers.yaml",
    "pipelines/enterprise-registration.yaml",
    "pipelines/feeds/approval.seal.yaml",
    "pipelines/feeds/civil-affairs.enterprise.yaml",
    "pipelines/feeds/civil-affairs.person.yaml",
    "pipelines/feeds/finance.fiscal.yaml",
    "pipelines/feeds/housing.enterprise.yaml",
    "pipelines/feeds/housing.license.yaml",
    "pipelines/high-tech.yaml",
    "pipelines/historic-register-xls.yaml",
    "pipelines/historic-register.yaml",
    "pipelines/industrial-output.yaml",
    "pipelines/insured-persons.yaml",
    "pipelines/land-grants.yaml",
    "pipelines/legal-representatives.yaml",
    "pipelines/local-tax-levies.yaml",
    "pipelines/nontax-receipts.yaml",
    "pipelines/nontax-reconciliation.yaml",
    "pipelines/permits.yaml",
    "pipelines/procurement-intentions.yaml",
    "pipelines/real-estate-titles.yaml",
    "pipelines/revoked-certificates.yaml",
    "pipelines/seal-files.yaml",
    "pipelines/seals.yaml",
    "pipelines/state-assets.yaml",
    "pipelines/statistical-units.yaml",
    "pipelines/tax-levies.yaml",
    "pipelines/taxpayers.yaml",
    "pipelines/tender-awards.yaml",
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
