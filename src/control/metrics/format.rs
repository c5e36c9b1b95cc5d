//! The text formats of a page, and the choice by the client's preference.

use prometheus_client::encoding::prometheus_text;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, the default.
    Prometheus,
}

impl ExpositionFormat {
    /// Returns the media type for `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }

    /// Returns the format for an `Accept` header (RFC 9110, section 12.5.1).
    ///
    /// OpenMetrics must be named with at least the quality of text. The default is text, as with other exporters.
    #[must_use]
    pub fn accepted_by(accept: &str) -> Self {
        let best = |format| {
            let qualities = accept.split(',').map(Range::parse).filter(|range| range.is(format));
            qualities.map(|range| range.quality).fold(0.0, f32::max)
        };
        let wanted = best(Self::OpenMetrics);
        if wanted > 0.0 && wanted >= best(Self::Prometheus) { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// One part of an `Accept` header.
struct Range<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    /// Parses a range; a malformed parameter is ignored.
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { media_type: parts.next().unwrap_or_default(), version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value.trim().trim_matches('"')),
                "q" => range.quality = value.trim().parse().unwrap_or(0.0),
                _ => {}
            }
        }
        range
    }

    fn is(&self, format: ExpositionFormat) -> bool {
        let (media_type, version) = match format {
            ExpositionFormat::OpenMetrics => ("application/openmetrics-text", "1.0.0"),
            ExpositionFormat::Prometheus => ("text/plain", "0.0.4"),
        };
        self.media_type.eq_ignore_ascii_case(media_type)
            && self.version.is_none_or(|accepted| accepted == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_follows_the_accept_header() {
        let cases = [
            ("", ExpositionFormat::Prometheus),
            ("*/*", ExpositionFormat::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", ExpositionFormat::Prometheus),
            ("application/json", ExpositionFormat::Prometheus),
            ("text/plain", ExpositionFormat::Prometheus),
            ("application/openmetrics-text", ExpositionFormat::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", ExpositionFormat::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", ExpositionFormat::Prometheus),
            ("application/openmetrics-text;version=1.0.0;q=0", ExpositionFormat::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.7",
                ExpositionFormat::Prometheus,
            ),
            (
                "text/plain;version=0.0.4;q=nonsense,application/openmetrics-text;q=0.1",
                ExpositionFormat::OpenMetrics,
            ),
            // Prometheus 2.42, and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ExpositionFormat::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;\
                 q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ExpositionFormat::OpenMetrics,
            ),
        ];
        for (accept, format) in cases {
            assert_eq!(ExpositionFormat::accepted_by(accept), format, "{accept}");
        }
    }
}
