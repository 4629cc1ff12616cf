//! Sentences around labels.

use crate::text::{IMAGENET_TEMPLATES, canonicalize, expand};

/// A way to make texts of a label.
pub(super) struct Template {
    /// In the template's own language; `None` for a label as it is typed.
    pub(super) name: Option<&'static str>,
    /// With `{}` for the label.
    pub(super) pattern: &'static str,
    is_ensemble: bool,
}

const fn single(name: &'static str, pattern: &'static str) -> Template {
    Template { name: Some(name), pattern, is_ensemble: false }
}

/// The choice. The first English one is what SigLIP's own examples use; the others say the same.
pub(super) const TEMPLATES: [Template; 14] = [
    Template { name: None, pattern: "{}", is_ensemble: false },
    single("English: This is a photo of {}.", "This is a photo of {}."),
    Template { name: Some("English: 81 templates, averaged"), pattern: "a photo of a {}", is_ensemble: true },
    single("Deutsch: Das ist ein Foto von {}.", "Das ist ein Foto von {}."),
    single("Español: Esta es una foto de {}.", "Esta es una foto de {}."),
    single("Français: Ceci est une photo de {}.", "Ceci est une photo de {}."),
    single("Italiano: Questa è una foto di {}.", "Questa è una foto di {}."),
    single("Português: Esta é uma foto de {}.", "Esta é uma foto de {}."),
    single("Русский: Это фото: {}.", "Это фото: {}."),
    single("日本語: これは{}の写真です。", "これは{}の写真です。"),
    single("中文: 这是一张{}的照片。", "这是一张{}的照片。"),
    single("한국어: {} 사진입니다.", "{} 사진입니다."),
    single("हिन्दी: यह {} की तस्वीर है।", "यह {} की तस्वीर है।"),
    single("العربية: هذه صورة {}", "هذه صورة {}"),
];

impl Template {
    /// The sentence, or what stands for many of them.
    pub(super) fn described(&self) -> &'static str {
        self.name.filter(|_| self.is_ensemble).unwrap_or(self.pattern)
    }

    /// The texts whose embeddings are averaged for a label.
    pub(super) fn texts(&self, label: &str) -> Vec<String> {
        // A pattern of ours always has its place for the label.
        let filled = |pattern: &str, label: &str| expand(pattern, label).unwrap_or_else(|_| label.to_owned());
        if self.is_ensemble {
            let label = canonicalize(label);
            return IMAGENET_TEMPLATES.iter().map(|pattern| filled(pattern, &label)).collect();
        }
        vec![filled(self.pattern, label)]
    }

    /// Whether the sentence is in another script than the label: a template of one language helps no other.
    pub(super) fn is_foreign_to(&self, label: &str) -> bool {
        let scripts = |text: &str| text.chars().filter(|letter| letter.is_alphabetic()).map(script).collect::<Vec<_>>();
        let own = scripts(self.pattern);
        !own.is_empty() && scripts(label).iter().any(|script| !own.contains(script))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    Hangul,
    /// Han and Kana, which Japanese mixes.
    EastAsian,
    Other,
}

fn script(letter: char) -> Script {
    match u32::from(letter) {
        0x0041..=0x024f | 0x1e00..=0x1eff => Script::Latin,
        0x0400..=0x052f => Script::Cyrillic,
        0x0600..=0x077f | 0xfb50..=0xfdff | 0xfe70..=0xfeff => Script::Arabic,
        0x0900..=0x097f => Script::Devanagari,
        0x1100..=0x11ff | 0xac00..=0xd7af => Script::Hangul,
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff => Script::EastAsian,
        _ => Script::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_a_place_for_its_label() {
        for template in &TEMPLATES {
            assert!(template.texts("猫").iter().all(|text| text.contains('猫') && !text.contains('{')), "{:?}", template.name);
        }
        assert_eq!(TEMPLATES[2].texts("A Cat!").len(), 81);
        assert!(TEMPLATES[2].texts("A Cat!").contains(&"a photo of a A Cat".to_owned()));
    }

    #[test]
    fn a_template_of_another_script_is_noticed() {
        assert!(TEMPLATES[1].is_foreign_to("猫") && TEMPLATES[9].is_foreign_to("cat") && TEMPLATES[13].is_foreign_to("кошка"));
        assert!(!TEMPLATES[1].is_foreign_to("Katze") && !TEMPLATES[9].is_foreign_to("ネコの顔") && !TEMPLATES[0].is_foreign_to("猫"));
        assert!(!TEMPLATES[1].is_foreign_to("42 🐱"));
    }
}
