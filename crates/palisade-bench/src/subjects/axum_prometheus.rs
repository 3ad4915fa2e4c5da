use std::sync::LazyLock;

use axum_prometheus::{PrometheusMetricLayer, PrometheusMetricLayerBuilder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// `axum-prometheus`, with the sizes of bodies, which palisade counts as well; and what sees to its
/// values: it keeps each of them until then.
///
/// Its recorder is that of the process, and so there is one.
pub(crate) fn layer() -> (PrometheusMetricLayer<'static>, PrometheusHandle) {
    static LAYER: LazyLock<(PrometheusMetricLayer<'static>, PrometheusHandle)> =
        LazyLock::new(|| {
            let builder = PrometheusMetricLayerBuilder::new().enable_response_body_size(true);
            let install =
                || PrometheusBuilder::new().install_recorder().expect("the only recorder");
            builder.with_metrics_from_fn(install).build_pair()
        });
    LAYER.clone()
}
