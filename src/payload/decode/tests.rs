#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::json;

use super::*;

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

fn data_of(text: &str) -> Value {
    let manifest = format!("{}data:\n{text}", config_map("a"));
    Payload::decode(&manifest).expect("decodes").documents()[0].body()["data"].clone()
}

#[test]
fn several_documents_keep_their_order_and_number() {
    let text = format!(
        "# a comment\n---\n---\n{}--- # the second\n{}namespace: ignored here\n---\n# nothing\n---\n{}\n...\n",
        config_map("one"),
        config_map("two"),
        config_map("three"),
    );
    let payload = Payload::decode(&text).expect("decodes");
    let found: Vec<_> = payload
        .documents()
        .iter()
        .map(|d| (d.number, d.key.to_string()))
        .collect();
    assert_eq!(
        found,
        [
            (1, "ConfigMap one".to_owned()),
            (2, "ConfigMap two".to_owned()),
            (3, "ConfigMap three".to_owned())
        ]
    );
}

#[test]
fn a_text_without_content_is_an_empty_payload() {
    for text in [
        "",
        "\n\n",
        "---\n",
        "# only a comment\n",
        "---\n---\n# x\n---",
        "%YAML 1.2\n---\n",
    ] {
        assert_eq!(Payload::decode(text), Ok(Payload::default()), "{text:?}");
    }
    assert_eq!(
        Payload::decode(&format!("%YAML 1.2\n---\n{}", config_map("a")))
            .unwrap()
            .documents()
            .len(),
        1
    );
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    assert_eq!(
        data_of(
            "  mode: 0644\n  new: 0o644\n  hex: 0x1F\n  on: yes\n  off: No\n  float: 1.5\n  nothing: ~\n"
        ),
        json!({"mode": 420, "new": 420, "hex": 31, "on": true, "off": false, "float": 1.5, "nothing": null})
    );
    assert_eq!(
        data_of(
            "  a: \"yes\"\n  b: '0644'\n  c: 2020-01-01\n  d: 1.2.3\n  e: |\n    --- not a separator\n    yes\n"
        ),
        json!({"a": "yes", "b": "0644", "c": "2020-01-01", "d": "1.2.3", "e": "--- not a separator\nyes\n"})
    );
    assert_eq!(data_of("  1: a\n  2.5: b\n"), json!({"1": "a", "2.5": "b"}));
    assert_eq!(
        data_of("  big: 9007199254740993\n  base: &x {k: v}\n  copy: *x\n  merged: {<<: *x, l: w}\n"),
        json!({"big": 9_007_199_254_740_993_i64, "base": {"k": "v"}, "copy": {"k": "v"}, "merged": {"k": "v", "l": "w"}})
    );
}

#[test]
fn json_is_yaml() {
    let payload = Payload::decode(
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","namespace":"b"}}"#,
    )
    .expect("decodes");
    let document = &payload.documents()[0];
    assert_eq!(document.key.to_string(), "Deployment.apps b/a");
    assert_eq!(document.version, "v1");
}

#[test]
fn what_the_server_sets_is_dropped() {
    let payload = Payload::decode(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: x, resourceVersion: '1', generation: 1,\n  \
         creationTimestamp: null, managedFields: [], labels: null, annotations: {k: v}}\nstatus: {}\n",
    )
    .expect("decodes");
    assert_eq!(
        Value::Object(payload.documents()[0].body().clone()),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {"k": "v"}}})
    );
}

#[test]
fn lists_are_expanded() {
    let payload = Payload::decode(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n\
         - {apiVersion: v1, kind: Secret, metadata: {name: b}}\n---\napiVersion: v1\nkind: ServiceList\nitems:\n\
         - metadata: {name: c}\n",
    )
    .expect("decodes");
    let found: Vec<_> = payload
        .documents()
        .iter()
        .map(|d| (d.number, d.key.to_string()))
        .collect();
    assert_eq!(
        found,
        [
            (1, "ConfigMap a".to_owned()),
            (1, "Secret b".to_owned()),
            (2, "Service c".to_owned())
        ]
    );
}

#[test]
fn an_error_names_the_document_and_the_remedy() {
    let second =
        |bad: &str| Payload::decode(&format!("{}---\n{bad}", config_map("a"))).expect_err("is refused");
    let cases = [
        (
            "metadata: {name: x}",
            "document 2 of the payload (x) has no `kind`: add one",
        ),
        (
            "just words",
            "document 2 of the payload is not an object: write `apiVersion`, `kind` and `metadata`",
        ),
        (
            "kind: Pod",
            "document 2 of the payload (Pod) has no `apiVersion`: add one, such as `v1`",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {generateName: x}}",
            "document 2 of the payload (Pod) has no `metadata.name`: add one (`generateName` makes a new object each \
             time, so it cannot be used)",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: no}}",
            "document 2 of the payload (Pod): `metadata.name` must be a text; quote it",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: x}",
            "document 2 of the payload (Pod): `metadata` must be a mapping with a `name`",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x, annotations: {flagship.dev/on-demotion: keep}}}",
            "document 2 of the payload (Pod x): the annotation flagship.dev/on-demotion must be `Delete`, `ScaleToZero` or \
             `Keep`, written so; correct it or leave it out",
        ),
        (
            "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: z, annotations: \
             {flagship.dev/on-demotion: \"\"}}}]}",
            "document 2 of the payload (Pod z): the annotation flagship.dev/on-demotion must be `Delete`, `ScaleToZero` or \
             `Keep`, written so; correct it or leave it out",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x, labels: {on: 1}}}",
            "document 2 of the payload (Pod x): `metadata.labels` must map texts to texts; quote numbers and booleans",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}",
            "documents 1 and 2 of the payload are the same object, ConfigMap a: remove one",
        ),
    ];
    for (bad, message) in cases {
        assert_eq!(second(bad).to_string(), message);
    }
}

#[test]
fn broken_yaml_names_the_line_and_shows_no_value() {
    let text = format!(
        "{}---\nkind: Secret\nstringData:\n  password: hunter2\n bad: [\n",
        config_map("a")
    );
    let error = Payload::decode(&text).expect_err("is refused");
    let DecodeError::NotYaml { document, line, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*document, *line), (2, 9));
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let repeated = Payload::decode("kind: A\nkind: B\n").expect_err("is refused");
    assert!(
        matches!(
            repeated,
            DecodeError::NotYaml {
                document: 1,
                line: 2,
                ..
            }
        ),
        "{repeated}"
    );
}

#[test]
fn size_and_aliases_are_bounded() {
    let long = "#".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(
        Payload::decode(&long),
        Err(DecodeError::TooLong {
            bytes: TEXT_BYTES_MAX + 1
        })
    );
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = level - 1;
        let aliases = vec![format!("*a{below}"); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(matches!(
        Payload::decode(&bomb),
        Err(DecodeError::NotYaml { document: 1, .. })
    ));
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(Payload::decode(&deep), Err(DecodeError::NotYaml { .. })));
}

#[test]
fn the_digest_follows_the_meaning() {
    let digest = |text: &str| Payload::decode(text).unwrap().documents()[0].digest().to_owned();
    let a = digest("{apiVersion: v1, kind: A, metadata: {name: x}, spec: {p: 1, q: 2}}");
    assert_eq!(
        a,
        digest("kind: A\napiVersion: v1\nspec:\n  q: 2\n  p: 1\nmetadata: {name: x, uid: y}\n")
    );
    assert_ne!(
        a,
        digest("{apiVersion: v1, kind: A, metadata: {name: x}, spec: {p: 1, q: 3}}")
    );
    assert_eq!(a.len(), 16);
}

#[test]
fn a_secret_is_written_in_the_form_in_which_it_is_read_back() {
    let text = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: eA==, y: eQ==}, stringData: {y: hello}}";
    let payload = Payload::decode(text).unwrap();
    let body = payload.documents()[0].body();
    assert_eq!(body.get("stringData"), None);
    assert_eq!(body["data"], json!({"x": "eA==", "y": "aGVsbG8="}));
    let odd =
        Payload::decode("{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {y: 1}}").unwrap();
    assert_eq!(odd.documents()[0].body()["stringData"], json!({"y": 1}));
}

#[test]
fn the_number_of_objects_is_bounded() {
    let text: String = (0..=OBJECTS_MAX / 2)
        .map(|n| format!("---\n{}", config_map(&format!("c{n}"))))
        .collect();
    assert_eq!(
        Payload::decode(&text),
        Err(DecodeError::TooMany {
            objects: OBJECTS_MAX / 2 + 1
        })
    );
}

#[test]
fn documents_of_several_texts_are_counted_through_and_errors_tell_the_text() {
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let text = format!("{}---\n{}", map("a"), map("b"));
    let other = |text: String| ("key app.yaml of Secret app".to_owned(), text);
    let payload = Payload::decode_all(&text, &[other(map("c")), other(map("d"))]).unwrap();
    let numbered = payload
        .documents()
        .iter()
        .map(|document| (document.number, document.key.name.as_str()));
    assert_eq!(
        numbered.collect::<Vec<_>>(),
        [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    );

    let error = |others: &[(String, String)]| Payload::decode_all(&text, others).unwrap_err().to_string();
    assert_eq!(
        error(&[other(map("c")), other(format!("{}---\nkind: Secret\n", map("d")))]),
        "key app.yaml of Secret app: document 2 of the payload (Secret) has no `apiVersion`: add one, such as `v1`"
    );
    assert_eq!(
        error(&[other(map("a"))]),
        "documents 1 and 3 of the payload are the same object, ConfigMap a: remove one"
    );
    let long = other("#".repeat(TEXT_BYTES_MAX));
    assert!(error(&[long]).contains("and at most 1048576 are possible"));
}
