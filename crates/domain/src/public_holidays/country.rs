//! Countries whose public holidays are known.

/// Country whose public holidays are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Country {
    /// Austria.
    Austria,
    /// Belgium.
    Belgium,
    /// Canada: holidays of the federation.
    Canada,
    /// Denmark.
    Denmark,
    /// France.
    France,
    /// Germany: holidays of all states.
    Germany,
    /// Ireland.
    Ireland,
    /// Italy.
    Italy,
    /// Netherlands.
    Netherlands,
    /// Norway.
    Norway,
    /// Poland.
    Poland,
    /// Portugal.
    Portugal,
    /// Spain: holidays of the whole state.
    Spain,
    /// Sweden.
    Sweden,
    /// Switzerland: holidays of most cantons.
    Switzerland,
    /// United Kingdom: bank holidays of England and Wales.
    UnitedKingdom,
    /// United States: federal holidays on the days on which they are observed.
    UnitedStates,
}

impl Country {
    /// All countries, by name.
    pub const ALL: [Self; 17] = [
        Self::Austria,
        Self::Belgium,
        Self::Canada,
        Self::Denmark,
        Self::France,
        Self::Germany,
        Self::Ireland,
        Self::Italy,
        Self::Netherlands,
        Self::Norway,
        Self::Poland,
        Self::Portugal,
        Self::Spain,
        Self::Sweden,
        Self::Switzerland,
        Self::UnitedKingdom,
        Self::UnitedStates,
    ];

    /// Returns the code of ISO 3166, in upper case.
    pub const fn code(self) -> &'static str {
        self.code_and_name().0
    }

    /// Returns the name in English.
    pub const fn name(self) -> &'static str {
        self.code_and_name().1
    }

    const fn code_and_name(self) -> (&'static str, &'static str) {
        match self {
            Self::Austria => ("AT", "Austria"),
            Self::Belgium => ("BE", "Belgium"),
            Self::Canada => ("CA", "Canada"),
            Self::Denmark => ("DK", "Denmark"),
            Self::France => ("FR", "France"),
            Self::Germany => ("DE", "Germany"),
            Self::Ireland => ("IE", "Ireland"),
            Self::Italy => ("IT", "Italy"),
            Self::Netherlands => ("NL", "Netherlands"),
            Self::Norway => ("NO", "Norway"),
            Self::Poland => ("PL", "Poland"),
            Self::Portugal => ("PT", "Portugal"),
            Self::Spain => ("ES", "Spain"),
            Self::Sweden => ("SE", "Sweden"),
            Self::Switzerland => ("CH", "Switzerland"),
            Self::UnitedKingdom => ("GB", "United Kingdom"),
            Self::UnitedStates => ("US", "United States"),
        }
    }

    /// Returns the country with a code of ISO 3166, in upper or lower case.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|country| country.code().eq_ignore_ascii_case(code))
    }
}
