use super::*;

const DIGEST: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

#[test]
fn references_are_read() {
    let artifact = |registry: &str, repository: &str, tag: Option<&str>, digest: Option<&str>| {
        Reference::Artifact(Artifact {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(|digest| Pin::parse(digest).expect("a digest")),
        })
    };
    for (text, expected) in [
        (
            format!("oci://ghcr.io/me/waf:1.2@sha256:{DIGEST}"),
            artifact("ghcr.io", "me/waf", Some("1.2"), Some(DIGEST)),
        ),
        (format!("oci://ghcr.io/me/waf@sha256:{DIGEST}"), artifact("ghcr.io", "me/waf", None, Some(DIGEST))),
        ("oci://127.0.0.1:5000/waf:a".to_owned(), artifact("127.0.0.1:5000", "waf", Some("a"), None)),
    ] {
        let read = Reference::parse(&text).expect(&text);
        assert_eq!(read, expected);
        assert_eq!(read.to_string(), text);
        assert_eq!(read.is_pinned(), text.contains('@'));
    }
    for text in ["https://example.com/waf.wasm", "http://127.0.0.1:80/waf.wasm", "http://[::1]:80/x.lua"] {
        assert_eq!(Reference::parse(text).expect(text).to_string(), text);
    }
}

#[test]
fn what_is_no_reference_is_told() {
    for (text, told) in [
        ("http://example.com/waf.wasm", "https is wanted"),
        ("ftp://example.com/waf.wasm", "fetched by `https://` or `oci://`"),
        ("https:///waf.wasm", "no URL"),
        ("https://me:secret@example.com/waf.wasm", "`credentials`"),
        ("oci://waf", "a registry and a repository"),
        ("oci://ghcr.io/Me/waf", "is no repository"),
        ("oci://ghcr.io/me/../waf", "is no repository"),
        ("oci://ghcr.io/me//waf", "is no repository"),
        ("oci://me@ghcr.io/waf", "behind `@`"),
        ("oci://ghcr.io/waf:", "is no tag"),
        ("oci://ghcr.io/waf@sha256:12", "64 hexadecimal digits"),
        ("oci://ghcr.io/waf@sha512:12", "64 hexadecimal digits"),
        ("oci://gh cr.io/waf", "is no registry"),
    ] {
        let wrong = Reference::parse(text).expect_err(text);
        assert!(wrong.contains(told), "{text}: {wrong}");
    }
}

#[test]
fn a_manifest_names_the_plugin() {
    let layer = |kind: &str| format!(r#"{{"mediaType": "{kind}", "digest": "sha256:{DIGEST}", "size": 3}}"#);
    let manifest = |layers: &[String]| format!(r#"{{"schemaVersion": 2, "layers": [{}]}}"#, layers.join(","));
    let other = layer("application/vnd.oci.image.layer.v1.tar");
    for kind in ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"] {
        let found = registry::layer(manifest(&[other.clone(), layer(kind)]).as_bytes()).expect(kind);
        assert_eq!(found.to_string(), DIGEST);
    }
    for (text, told) in [
        (manifest(&[]), "the layers []"),
        (manifest(&[other]), "vnd.oci.image.layer.v1.tar"),
        (manifest(&[layer("application/wasm"), layer("application/wasm")]), "one of"),
        (r#"{"manifests": []}"#.to_owned(), "an index"),
        ("<html>".to_owned(), "no manifest"),
        (r#"{"layers": [{"mediaType": "application/wasm", "digest": "md5:1"}]}"#.to_owned(), "`md5:1`"),
    ] {
        let wrong = registry::layer(text.as_bytes()).expect_err(&text);
        assert!(wrong.contains(told), "{text}: {wrong}");
    }
}

#[test]
fn what_is_kept_is_fetched_once_and_checked_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("a/b");
    let kept = Kept::open(&place).expect("it is made");
    let pin = Pin::of(b"foo");
    assert_eq!(pin.to_string(), DIGEST);
    let wrong = kept.or_else(&pin, "wasm", || Ok(b"bar".to_vec())).expect_err("it is another");
    assert!(wrong.contains("and 2c26b46b"), "{wrong}");
    assert_eq!(std::fs::read_dir(&place).expect("the folder").count(), 0, "nothing of it is kept");
    let file = kept.or_else(&pin, "wasm", || Ok(b"foo".to_vec())).expect("it is right");
    assert_eq!(kept.or_else(&pin, "wasm", || Err("asked again".to_owned())).expect("it is there"), file);
    std::fs::write(&file, "broken").expect("a file");
    assert_eq!(kept.or_else(&pin, "wasm", || Ok(b"foo".to_vec())).expect("again"), file);
    assert_eq!(std::fs::read(&file).expect("it is whole"), b"foo");
}
