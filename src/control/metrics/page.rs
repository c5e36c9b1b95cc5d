//! Metric families in exposition order: name, help and type, then a sample for each set of labels.

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt;

/// Name and value of a label.
pub(super) type Label = (&'static str, String);

/// A name without the program's prefix, and without the unit, which follows it.
pub(super) type FamilyName<'n> = (&'n str, Option<Unit>);

/// Returns the sample of a family without labels.
pub(super) fn alone<T>(value: T) -> [([(&'static str, &'static str); 0], T); 1] {
    [([], value)]
}

/// A histogram's samples: the count of each bucket by its upper bound, not cumulative.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Buckets {
    pub(super) sum: f64,
    pub(super) count: u64,
    /// The last bound is infinity.
    pub(super) counts: Vec<(f64, u64)>,
}

/// A page that is being written.
pub(super) struct MetricsPage<'e>(DescriptorEncoder<'e>);

impl<'e> MetricsPage<'e> {
    pub(super) fn new(encoder: DescriptorEncoder<'e>) -> Self {
        Self(encoder)
    }

    /// Writes counters. `_total` is added to the name.
    pub(super) fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: FamilyName<'_>,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, |family| {
            samples.into_iter().try_for_each(|(labels, total)| {
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(&total, None)
            })
        })
    }

    /// Writes gauges.
    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: FamilyName<'_>,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, |family| {
            samples
                .into_iter()
                .try_for_each(|(labels, level)| family.encode_family(&labels)?.encode_gauge(&level))
        })
    }

    /// Writes text as labels, each set with the value 1. `_info` is added to the name.
    pub(super) fn info<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = L>,
    ) -> fmt::Result {
        self.family((name, None), help, MetricType::Info, |family| {
            samples.into_iter().try_for_each(|labels| family.encode_info(&labels))
        })
    }

    /// Writes histograms.
    pub(super) fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: FamilyName<'_>,
        help: &str,
        samples: impl IntoIterator<Item = (L, Buckets)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, |family| {
            samples.into_iter().try_for_each(|(labels, Buckets { sum, count, counts })| {
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &counts, None)
            })
        })
    }

    fn family(
        &mut self,
        (name, unit): FamilyName<'_>,
        help: &str,
        kind: MetricType,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(&mut self.0.encode_descriptor(name, help, unit.as_ref(), kind)?)
    }
}
