//! The requests of administration tools: topics, partitions, settings, groups.

use crate::broker::{LIMIT, bootstrap, topic};
use rdkafka::{
    admin::{AdminOptions, ResourceSpecifier},
    consumer::Consumer as _,
    types::RDKafkaErrorCode,
};
use sightline_testkit::{Admin, consumer, eventually, unique};
use std::time::Duration;

#[track_caller]
fn refused(result: anyhow::Result<()>) -> RDKafkaErrorCode {
    *result.unwrap_err().downcast_ref().unwrap()
}

fn partitions(name: &str) -> usize {
    let consumer = consumer(bootstrap(), &[]).unwrap();
    let metadata = consumer.fetch_metadata(Some(name), LIMIT).unwrap();
    metadata.topics()[0].partitions().len()
}

#[test]
fn a_topic_is_created_grown_and_deleted() {
    let admin = Admin::new(bootstrap()).unwrap();
    let name = unique("topic");
    admin.create_topic(&name, 2, &[]).unwrap();
    let again = refused(admin.create_topic(&name, 2, &[]));
    assert_eq!(again, RDKafkaErrorCode::TopicAlreadyExists);
    eventually("two partitions", || (partitions(&name) == 2).then_some(()));
    admin.create_partitions(&name, 5).unwrap();
    eventually("five partitions", || (partitions(&name) == 5).then_some(()));
    let fewer = refused(admin.create_partitions(&name, 3));
    assert_eq!(fewer, RDKafkaErrorCode::InvalidPartitions);
    admin.delete_topic(&name).unwrap();
    eventually("no partitions", || (partitions(&name) == 0).then_some(()));
    let unknown = refused(admin.delete_topic(&name));
    assert_eq!(unknown, RDKafkaErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_recreated_topic_is_empty() {
    let admin = Admin::new(bootstrap()).unwrap();
    let name = topic(1, &[]);
    let producer = sightline_testkit::producer(bootstrap(), &[]).unwrap();
    crate::broker::send(&producer, &name, &["a"]);
    admin.delete_topic(&name).unwrap();
    eventually("its deletion", || (partitions(&name) == 0).then_some(()));
    admin.create_topic(&name, 1, &[]).unwrap();
    crate::broker::await_topic(&name, 1);
    assert!(crate::broker::values(&name, "read_committed").is_empty());
}

#[test]
fn wrong_names_and_settings_are_refused() {
    let admin = Admin::new(bootstrap()).unwrap();
    let name = unique("topic");
    let error = refused(admin.create_topic("not/a/name", 1, &[]));
    assert_eq!(error, RDKafkaErrorCode::InvalidTopic);
    let error = refused(admin.create_topic(&name, 1, &[("no.such.setting", "1")]));
    assert_eq!(error, RDKafkaErrorCode::InvalidConfig);
    let error = refused(admin.create_topic(&name, 1, &[("retention.ms", "soon")]));
    assert_eq!(error, RDKafkaErrorCode::InvalidConfig);
    let error = refused(admin.create_topic(&name, 0, &[]));
    assert_eq!(error, RDKafkaErrorCode::InvalidPartitions);
}

#[test]
fn settings_are_described_as_they_were_created() {
    let admin = Admin::new(bootstrap()).unwrap();
    let made = [
        ("max.message.bytes", "8388608"),
        ("cleanup.policy", "compact"),
    ];
    let name = topic(1, &made);
    let asked = [ResourceSpecifier::Topic(&name)];
    let options = AdminOptions::new().request_timeout(Some(LIMIT));
    let told = admin.client().describe_configs(&asked, &options);
    let told = admin.block_on(told).unwrap().remove(0).unwrap();
    for (key, value) in made {
        let entry = told.get(key).unwrap();
        assert_eq!(entry.value.as_deref(), Some(value));
        assert!(!entry.is_default);
    }
    let entry = told.get("retention.ms").unwrap();
    assert_eq!(entry.value.as_deref(), Some("604800000"));
    assert!(entry.is_default);
}

#[test]
fn a_group_is_listed_and_described() {
    let (group, topic) = (unique("group"), topic(1, &[]));
    let member = consumer(bootstrap(), &[("group.id", &group)]).unwrap();
    member.subscribe(&[&topic]).unwrap();
    eventually("the partition", || {
        let _ = member.poll(Duration::from_millis(20));
        (member.assignment().unwrap().count() == 1).then_some(())
    });
    let told = member.client().fetch_group_list(Some(&group), LIMIT);
    let told = told.unwrap();
    let described = &told.groups()[0];
    assert_eq!(described.name(), group);
    assert_eq!(described.state(), "Stable");
    assert_eq!(described.protocol_type(), "consumer");
    assert_eq!(described.protocol(), "range");
    assert_eq!(described.members().len(), 1);
    assert_eq!(described.members()[0].client_id(), "rdkafka");
    let all = member.client().fetch_group_list(None, LIMIT).unwrap();
    assert!(all.groups().iter().any(|listed| listed.name() == group));
}
