// SPDX-License-Identifier: Apache-2.0
//! The names of Unicode classes that Go's `\p{..}` knows.
//!
//! Enters as a name; leaves as the characters it stands for. The tables are those of `regex-syntax`; the list of names is
//! Go's own, which knows no `Greek=` or `Script=`, and no script whose name has two words.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

/// The general categories with their aliases, in the form of [`canonical`].
const CATEGORIES: &[&str] = &[
    "C",
    "Cc",
    "Cf",
    "Cn",
    "Co",
    "Cs",
    "L",
    "Lc",
    "Ll",
    "Lm",
    "Lo",
    "Lt",
    "Lu",
    "M",
    "Mc",
    "Me",
    "Mn",
    "N",
    "Nd",
    "Nl",
    "No",
    "P",
    "Pc",
    "Pd",
    "Pe",
    "Pf",
    "Pi",
    "Po",
    "Ps",
    "S",
    "Sc",
    "Sk",
    "Sm",
    "So",
    "Z",
    "Zl",
    "Zp",
    "Zs",
    "Casedletter",
    "Closepunctuation",
    "Cntrl",
    "Combiningmark",
    "Connectorpunctuation",
    "Control",
    "Currencysymbol",
    "Dashpunctuation",
    "Decimalnumber",
    "Digit",
    "Enclosingmark",
    "Finalpunctuation",
    "Format",
    "Initialpunctuation",
    "Letter",
    "Letternumber",
    "Lineseparator",
    "Lowercaseletter",
    "Mark",
    "Mathsymbol",
    "Modifierletter",
    "Modifiersymbol",
    "Nonspacingmark",
    "Number",
    "Openpunctuation",
    "Other",
    "Otherletter",
    "Othernumber",
    "Otherpunctuation",
    "Othersymbol",
    "Paragraphseparator",
    "Privateuse",
    "Punct",
    "Punctuation",
    "Separator",
    "Spaceseparator",
    "Spacingmark",
    "Surrogate",
    "Symbol",
    "Titlecaseletter",
    "Unassigned",
    "Uppercaseletter",
];

/// The scripts, in the form of [`canonical`].
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Carian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dogra",
    "Duployan",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Medefaidrin",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "Newa",
    "Nko",
    "Nushu",
    "Ogham",
    "Oriya",
    "Osage",
    "Osmanya",
    "Palmyrene",
    "Phoenician",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "Sinhala",
    "Sogdian",
    "Soyombo",
    "Sundanese",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Yezidi",
    "Yi",
];

/// The characters of a class, if Go knows the name.
pub(super) fn class(name: &str) -> Option<ClassUnicode> {
    match canonical(name).as_str() {
        "Any" => Some(range('\0', char::MAX)),
        "Ascii" => Some(range('\0', '\x7f')),
        // No text has a surrogate.
        "Cs" | "Surrogate" => Some(ClassUnicode::empty()),
        "Assigned" => {
            let mut class = table(r"\p{gc=Cn}")?;
            class.negate();
            Some(class)
        }
        name if CATEGORIES.contains(&name) => table(&format!(r"\p{{gc={name}}}")),
        name if SCRIPTS.contains(&name) => table(&format!(r"\p{{sc={name}}}")),
        _ => None,
    }
}

/// A capital letter first and small ones behind it, without `_`, `-` and blanks: the form in which Go compares names.
fn canonical(name: &str) -> String {
    let mut letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first
        .into_iter()
        .chain(letters.map(|c| c.to_ascii_lowercase()))
        .collect()
}

fn range(low: char, high: char) -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new(low, high)])
}

fn table(rust: &str) -> Option<ClassUnicode> {
    match regex_syntax::parse(rust).map(Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => Some(class),
        // A class of one character.
        Ok(HirKind::Literal(literal)) => {
            let text = str::from_utf8(&literal.0).ok()?;
            let only = text.chars().next()?;
            Some(range(only, only))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_has_a_table() {
        for name in CATEGORIES.iter().chain(SCRIPTS) {
            assert!(class(name).is_some(), "{name}");
            assert_eq!(&canonical(name), name);
        }
    }

    #[test]
    fn names_are_compared_as_in_go() {
        for name in [
            "greek",
            "GREEK",
            "gr-e_e k",
            "any",
            "ASCII",
            "lowercase_letter",
            "lc",
            "assigned",
        ] {
            assert!(class(name).is_some(), "{name}");
        }
        for name in [
            "",
            "Old_Italic",
            "Grek",
            "sc=Greek",
            "gc=L",
            "Alphabetic",
            "^L",
            "L&",
            "Lx",
        ] {
            assert!(class(name).is_none(), "{name}");
        }
    }
}
