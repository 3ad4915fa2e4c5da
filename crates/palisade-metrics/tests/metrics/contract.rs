use palisade_metrics::Registry;
use palisade_testkit::contract;

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(Registry::new().calls()).check().await;
    contract!(Registry::new().attempts()).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_where_there_is_room_for_nothing() {
    let tight = || Registry::new().max_endpoints(0).max_authorities(0).max_groups(0);
    contract!(tight().attempts()).check().await;
}
