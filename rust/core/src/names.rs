//! Names near ours: a misspelt optional column or member would be passed over in silence, and with it what it says.

/// The name among `ours` that `name` was probably meant to be: not the same, but nearly. `None` for a name of ours, and for one
/// that is clearly somebody else's.
///
/// Near is what differs by case and separators alone, and besides by one letter where ours has fewer than 8 letters, or two in
/// longer ones: a letter left out, put in, written for another, or two exchanged. A name of fewer than three letters has no
/// letter to spare.
#[must_use]
pub fn near<'a>(name: &str, ours: &[&'a str]) -> Option<&'a str> {
    if ours.contains(&name) {
        return None;
    }
    let given = letters(name);
    let distance = |each: &&'a str| {
        let wanted = letters(each);
        let spare = match wanted.len() {
            0..3 => 0,
            3..8 => 1,
            _ => 2,
        };
        edits(&given, &wanted, spare).map(|edits| (edits, *each))
    };
    ours.iter().filter_map(distance).min_by_key(|&(edits, _)| edits).map(|(_, each)| each)
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> Vec<char> {
    name.chars().filter(|each| each.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// How many edits lie between two names (optimal string alignment); `None` for more than `most`.
fn edits(one: &[char], other: &[char], most: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for at in 1..=one.len() {
        let mut row = vec![at; other.len() + 1];
        for to in 1..=other.len() {
            let replaced = last[to - 1] + usize::from(one[at - 1] != other[to - 1]);
            row[to] = replaced.min(last[to] + 1).min(row[to - 1] + 1);
            let exchanged = at > 1 && to > 1 && one[at - 1] == other[to - 2] && one[at - 2] == other[to - 1];
            if exchanged {
                row[to] = row[to].min(before[to - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    Some(last[other.len()]).filter(|&edits| edits <= most)
}

#[cfg(test)]
mod tests {
    use super::near;

    const OURS: [&str; 5] = ["mode", "permissions", "secure_command_used", "d", "mtr_actions"];

    #[test]
    fn a_misspelt_name_of_ours_is_near() {
        for (name, wanted) in [
            ("Mode", "mode"),
            ("mod", "mode"),
            ("modes", "mode"),
            ("moed", "mode"),
            ("node", "mode"),
            ("permission", "permissions"),
            ("Permisions ", "permissions"),
            ("premissons", "permissions"),
            ("secureCommandUsed", "secure_command_used"),
            ("SECURE-COMMAND-USE", "secure_command_used"),
            ("secure_comand_usd", "secure_command_used"),
            ("D", "d"),
            ("MTR_ACTIONS", "mtr_actions"),
            ("mrt_actions", "mtr_actions"),
            ("mtractions", "mtr_actions"),
        ] {
            assert_eq!(near(name, &OURS), Some(wanted), "{name}");
        }
    }

    #[test]
    fn ours_and_clearly_foreign_names_are_not_near() {
        for name in
            OURS.into_iter().chain(["", "x", "e", "modesty", "coda", "route_id", "ert_id", "permits", "actions", "é"])
        {
            assert_eq!(near(name, &OURS), None, "{name}");
        }
    }

    #[test]
    fn the_nearest_name_is_named() {
        assert_eq!(
            near("authorizations_use", &["authorization_used", "authorizations_used"]),
            Some("authorizations_used")
        );
    }
}
