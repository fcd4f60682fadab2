//! Markup that is fixed and text that is escaped, told apart by type.

/// A piece of a page under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup of ours.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds anybody's text, for an element or a quoted attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds the style sheet, whose text is made in [`super::style`] of ours and a checked colour.
    pub(super) fn style(&mut self, sheet: &str) -> &mut Self {
        self.0.push_str(sheet);
        self
    }

    /// The markup.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut html = Html::default();
        html.raw("<p>").text("<b a='\"'>&amp;").raw("</p>");
        assert_eq!(html.finish(), "<p>&lt;b a=&#39;&quot;&#39;&gt;&amp;amp;</p>");
    }
}
