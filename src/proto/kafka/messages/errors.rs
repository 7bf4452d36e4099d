//! The error codes of answers, and what to do about them.

/// The version of a request is not known.
pub(in crate::proto::kafka) const UNSUPPORTED_VERSION: i16 = 35;
pub(in crate::proto::kafka) const UNKNOWN_SERVER_ERROR: i16 = -1;
pub(in crate::proto::kafka) const NONE: i16 = 0;
pub(in crate::proto::kafka) const OFFSET_OUT_OF_RANGE: i16 = 1;
pub(in crate::proto::kafka) const MESSAGE_TOO_LARGE: i16 = 10;
pub(in crate::proto::kafka) const RECORD_LIST_TOO_LARGE: i16 = 18;
pub(in crate::proto::kafka) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
pub(in crate::proto::kafka) const INVALID_TIMESTAMP: i16 = 32;
pub(in crate::proto::kafka) const OUT_OF_ORDER_SEQUENCE: i16 = 45;
pub(in crate::proto::kafka) const DUPLICATE_SEQUENCE: i16 = 46;
pub(in crate::proto::kafka) const INVALID_PRODUCER_EPOCH: i16 = 47;
pub(in crate::proto::kafka) const UNKNOWN_PRODUCER_ID: i16 = 59;
pub(in crate::proto::kafka) const PRODUCER_FENCED: i16 = 90;

/// Errors of a partition that pass by themselves as a rule: its leader changes.
pub(in crate::proto::kafka) const PASSING: &[i16] = &[5, 6, 7, 9, 13, 74, 75, 76, 78];

/// Names of errors, and a remedy where a person has to do something.
const KNOWN: &[(i16, &str, &str)] = &[
    (-1, "UNKNOWN_SERVER_ERROR", "look into the broker's log"),
    (1, "OFFSET_OUT_OF_RANGE", "the partition has no such offset any more"),
    (2, "CORRUPT_MESSAGE", "a batch was damaged on its way"),
    (3, "UNKNOWN_TOPIC_OR_PARTITION", "create the topic, or allow the broker to create it"),
    (5, "LEADER_NOT_AVAILABLE", "no broker leads the partition"),
    (6, "NOT_LEADER_OR_FOLLOWER", "the leader has changed"),
    (7, "REQUEST_TIMED_OUT", "replicas do not keep up"),
    (9, "REPLICA_NOT_AVAILABLE", "the partition is moving"),
    (10, "MESSAGE_TOO_LARGE", "raise the topic's max.message.bytes"),
    (14, "COORDINATOR_LOAD_IN_PROGRESS", "the cluster has just started"),
    (15, "COORDINATOR_NOT_AVAILABLE", "the cluster has just started"),
    (16, "NOT_COORDINATOR", "the coordinator has moved"),
    (17, "INVALID_TOPIC_EXCEPTION", "no topic can have this name"),
    (18, "RECORD_LIST_TOO_LARGE", "raise the topic's segment.bytes"),
    (19, "NOT_ENOUGH_REPLICAS", "fewer replicas are in sync than min.insync.replicas"),
    (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "replicas were lost while they were written"),
    (22, "ILLEGAL_GENERATION", "the group has gone on without us"),
    (
        23,
        "INCONSISTENT_GROUP_PROTOCOL",
        "other members do not share partitions out by range or cooperative-sticky: set one of \
         these there (partition.assignment.strategy), or name another group here",
    ),
    (24, "INVALID_GROUP_ID", "no group can have this name"),
    (25, "UNKNOWN_MEMBER_ID", "the group has gone on without us"),
    (
        26,
        "INVALID_SESSION_TIMEOUT",
        "the broker's group.min.session.timeout.ms or group.max.session.timeout.ms forbids it",
    ),
    (27, "REBALANCE_IN_PROGRESS", "the group shares its partitions out"),
    (28, "INVALID_COMMIT_OFFSET_SIZE", "raise the broker's offset.metadata.max.bytes"),
    (29, "TOPIC_AUTHORIZATION_FAILED", "allow this user to WRITE, READ and DESCRIBE the topic"),
    (30, "GROUP_AUTHORIZATION_FAILED", "allow this user to READ the group"),
    (31, "CLUSTER_AUTHORIZATION_FAILED", "allow this user IDEMPOTENT_WRITE on the cluster"),
    (32, "INVALID_TIMESTAMP", "the time of a record is out of the topic's bounds"),
    (33, "UNSUPPORTED_SASL_MECHANISM", "use a mechanism that the broker has"),
    (34, "ILLEGAL_SASL_STATE", "this listener of the broker wants no SASL"),
    (35, "UNSUPPORTED_VERSION", "the broker is too old or too new"),
    (44, "POLICY_VIOLATION", "the cluster's policy forbids it"),
    (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", "the partition has other records of ours than expected"),
    (47, "INVALID_PRODUCER_EPOCH", "another producer has taken over our identity"),
    (56, "KAFKA_STORAGE_ERROR", "the broker's disk fails"),
    (58, "SASL_AUTHENTICATION_FAILED", "correct the user and the password"),
    (59, "UNKNOWN_PRODUCER_ID", "the partition has forgotten us"),
    (69, "GROUP_ID_NOT_FOUND", "the group is not there"),
    (74, "FENCED_LEADER_EPOCH", "the leader has changed"),
    (76, "UNKNOWN_LEADER_EPOCH", "the leader has changed"),
    (78, "OFFSET_NOT_AVAILABLE", "the leader has just changed"),
    (79, "MEMBER_ID_REQUIRED", "the group gives out an identity first"),
    (81, "GROUP_MAX_SIZE_REACHED", "raise the broker's group.max.size, or run fewer members"),
    (82, "FENCED_INSTANCE_ID", "another process has taken our place in the group"),
    (87, "INVALID_RECORD", "the broker refuses the records, as of a compacted topic without keys"),
    (89, "THROTTLING_QUOTA_EXCEEDED", "the quota is used up"),
    (90, "PRODUCER_FENCED", "another producer has taken over our identity"),
    (100, "UNKNOWN_TOPIC_ID", "the topic was deleted"),
    (103, "INCONSISTENT_TOPIC_ID", "the topic was made anew"),
    (110, "FENCED_MEMBER_EPOCH", "the group has gone on without us"),
    (112, "UNSUPPORTED_ASSIGNOR", "the broker's group.consumer.assignors is empty"),
    (113, "STALE_MEMBER_EPOCH", "the group has gone on without us"),
];

/// An error as it is shown: its name, its number and what to do.
pub(in crate::proto::kafka) fn describe(error: i16) -> String {
    match KNOWN.iter().find(|(code, _, _)| *code == error) {
        Some((_, name, help)) => format!("{name} ({error}): {help}"),
        None => format!("error {error}, which is not known here: look into the broker's log"),
    }
}
