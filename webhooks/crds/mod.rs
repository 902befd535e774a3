//! The CustomResourceDefinitions of the platform's group and of policies, as data.
//!
//! The legacy kind's file holds its storage version alone: its second version has the spec of
//! ApplicationDefinition and is made from that one's schema, so that the two cannot drift.

/// One CRD: its plural name and its YAML.
#[derive(Debug)]
pub struct Crd {
    /// Plural name of the kind.
    pub plural: &'static str,
    /// The manifest.
    pub yaml: &'static str,
    /// A further version whose schema is that of another CRD here.
    pub borrowed_version: Option<BorrowedVersion>,
}

/// A version whose schema comes from another CRD.
#[derive(Debug)]
pub struct BorrowedVersion {
    /// Name of the version.
    pub version: &'static str,
    /// Plural name of the CRD whose storage version lends its schema.
    pub from: &'static str,
}

/// All of them, lenders first.
pub static CRDS: [Crd; 5] = [
    Crd {
        plural: "applicationdefinitions",
        yaml: include_str!("applicationdefinitions.yaml"),
        borrowed_version: None,
    },
    Crd {
        plural: "cozystackresourcedefinitions",
        yaml: include_str!("cozystackresourcedefinitions.yaml"),
        borrowed_version: Some(BorrowedVersion {
            version: "v1alpha2",
            from: "applicationdefinitions",
        }),
    },
    Crd {
        plural: "packages",
        yaml: include_str!("packages.yaml"),
        borrowed_version: None,
    },
    Crd {
        plural: "packagesources",
        yaml: include_str!("packagesources.yaml"),
        borrowed_version: None,
    },
    Crd {
        plural: "packagepolicies",
        yaml: include_str!("packagepolicies.yaml"),
        borrowed_version: None,
    },
];
