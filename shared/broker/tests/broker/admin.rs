//! Creating, changing and deleting topics.

use super::clients::{Rig, WAIT, admin, create, send};
use rdkafka::{
    admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier},
    consumer::Consumer,
};

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_grown_described_and_deleted() {
    let rig = Rig::start();
    let admin = admin(&rig.bootstrap());
    let options = AdminOptions::new();
    rig.topic("t", 2, &[("retention.ms", "60000")]).await;
    assert!(
        create(&rig.bootstrap(), "t", 2, &[])
            .await
            .unwrap_err()
            .contains("TopicAlreadyExists")
    );
    assert!(
        create(&rig.bootstrap(), "bad name", 1, &[])
            .await
            .unwrap_err()
            .contains("InvalidTopic")
    );
    assert!(
        create(&rig.bootstrap(), "u", 1, &[("nonsense", "1")])
            .await
            .unwrap_err()
            .contains("InvalidConfig")
    );

    let described = admin
        .describe_configs([&ResourceSpecifier::Topic("t")], &options)
        .await
        .unwrap();
    let config = described[0].as_ref().unwrap();
    assert_eq!(
        config.get("retention.ms").unwrap().value.as_deref(),
        Some("60000")
    );
    assert_eq!(
        config.get("cleanup.policy").unwrap().value.as_deref(),
        Some("delete")
    );
    let grown = admin
        .create_partitions([&NewPartitions::new("t", 5)], &options)
        .await
        .unwrap();
    assert!(grown[0].is_ok());
    let metadata = rig
        .consumer("g", &[])
        .fetch_metadata(Some("t"), WAIT)
        .unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 5);
    assert_eq!(
        metadata.brokers()[0].port(),
        i32::from(rig.broker().local_addr().port())
    );

    send(&rig.producer(&[]), "t", 0, "x").await.unwrap();
    let deleted = admin.delete_topics(&["t"], &options).await.unwrap();
    assert!(deleted[0].is_ok());
    rig.topic("t", 1, &[]).await;
    assert!(
        rig.values("t", 0, "read_committed").is_empty(),
        "a new topic holds records of the old"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_changed_later_are_obeyed() {
    let rig = Rig::start();
    rig.topic("t", 1, &[]).await;
    let change = AlterConfig::new(ResourceSpecifier::Topic("t")).set("max.message.bytes", "500");
    let altered = admin(&rig.bootstrap())
        .alter_configs([&change], &AdminOptions::new())
        .await
        .unwrap();
    assert!(altered[0].is_ok(), "{altered:?}");
    assert!(
        send(&rig.producer(&[]), "t", 0, &"x".repeat(1000))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_topic_by_naming_it() {
    let rig = Rig::start();
    let producer = rig.producer(&[("message.timeout.ms", "3000")]);
    assert!(send(&producer, "absent", 0, "x").await.is_err());
    let metadata = rig.consumer("g", &[]).fetch_metadata(None, WAIT).unwrap();
    assert!(metadata.topics().is_empty());
}
