//! How configurations are read into statements.

use proptest::prelude::*;

use super::*;

fn bodies(text: &str) -> Vec<Body> {
    parse(text).into_iter().map(|statement| statement.body).collect()
}

#[test]
fn filters_may_have_statements_in_braces() {
    let text = ":programname, startswith, \"ha\" {\n  /var/log/ha.log\n  stop\n}\n\
                mail.* { action(type=\"omfile\" file=\"/m\") }\n*.* /x{y}\n\
                $FileOwner root # who\n";
    let bodies = bodies(text);
    let Body::Block { filter, inside } = &bodies[0] else { panic!("{bodies:?}") };
    assert_eq!(filter, ":programname, startswith, \"ha\"");
    assert!(matches!(inside[0].body, Body::Filter { .. }) && inside[1].body == Body::Stop);
    let Body::Block { filter, inside } = &bodies[1] else { panic!("{bodies:?}") };
    assert!(filter == "mail.*" && matches!(inside[0].body, Body::Object(_)));
    assert!(matches!(&bodies[2], Body::Filter { actions, .. } if actions == &["/x{y}"]));
    assert_eq!(bodies[3], Body::Directive("fileowner".into(), "root".into()));
}

#[test]
fn old_lines_are_read() {
    let text = "# a comment\n$ModLoad imudp\nauth,authpriv.*\t-/var/log/auth.log\n& stop\n\
                :msg, !contains, \"a \\\" b\"  /x;T\n*.* @@hub:514\n";
    let filter = |filter: &str, actions: &[&str]| Body::Filter {
        filter: filter.into(),
        actions: actions.iter().map(|action| (*action).to_string()).collect(),
    };
    assert_eq!(
        bodies(text),
        [
            Body::Directive("modload".into(), "imudp".into()),
            filter("auth,authpriv.*", &["-/var/log/auth.log", "stop"]),
            filter(":msg, !contains, \"a \\\" b\"", &["/x;T"]),
            filter("*.*", &["@@hub:514"]),
        ]
    );
}

#[test]
fn rainerscript_is_read() {
    let text = "module(load=\"imtcp\" MaxSessions='5') /* x\n*/ ruleset(name=\"r\") {\n\
                if $msg contains 'then' and ($x == 1) then { action(type=\"omfile\"\n\
                file=\"/x\") stop } else call other\n}\n\
                template(name=\"t\" type=\"string\" string=\"%msg%\\n\")";
    let all = bodies(text);
    let Body::Object(module) = &all[0] else { panic!() };
    assert_eq!((module.get("load"), module.get("maxsessions")), ("imtcp", "5"));
    let Body::Object(ruleset) = &all[1] else { panic!() };
    let Body::If { condition, then, or_else } = &ruleset.inside[0].body else { panic!() };
    assert_eq!(condition, "$msg contains 'then' and ($x == 1)");
    assert_eq!((then.len(), ruleset.inside[0].line), (2, 3));
    assert_eq!(then[1].body, Body::Stop);
    assert_eq!(or_else[0].body, Body::Call("other".into()));
    let Body::Object(template) = &all[2] else { panic!() };
    assert_eq!(template.get("string"), "%msg%\n");
}

#[test]
fn blocks_have_a_bound() {
    parse(&"if 1 then {".repeat(10_000));
    parse(&"if 1 then ".repeat(10_000));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in concat!(
            "(if|then|else|stop|call|action|[(){}\"'=$&~:, é\n#]",
            "|\\\\|\\[|\\]|\\*\\.\\*){0,40}",
        ),
    ) {
        parse(&text);
    }
}

#[test]
fn chains_of_branches_may_be_long_and_say_where_they_end() {
    let branch = "if $msg == 'a' then { stop } else ";
    let count = |mut body: &Body| {
        let mut count = 0;
        while let Body::If { or_else, .. } = body {
            count += 1;
            let Some(next) = or_else.first() else { break };
            body = &next.body;
        }
        count
    };
    let all = bodies(&format!("{}{{ stop }}\n*.* /x\n", branch.repeat(100)));
    assert_eq!((count(&all[0]), all.len()), (100, 2));
    let all = bodies(&format!("{}{{ stop }}\n*.* /x\n", branch.repeat(1000)));
    assert_eq!((count(&all[0]), all.len()), (CHAIN_MAX, 1));
    assert!(format!("{all:?}").contains("the branches behind the 128th, and what follows them"));
    let deep = bodies(&"if 1 then {".repeat(40));
    assert!(format!("{deep:?}").contains("blocks nested deeper than 32, and what follows them"));
}

#[test]
fn behind_braces_an_action_that_goes_on_ends_the_file() {
    for text in ["if 1 then {\n/x\n}\n& stop\n*.* /y\n", "*.* {\n/x\n}\n& ~\n", "call r\n& /y\n"] {
        let all = bodies(text);
        assert_eq!(all.last(), Some(&Body::Unknown(BEHIND_BLOCK.into())), "{text}");
    }
    assert_eq!(bodies("if 1 then /x\n& stop\n*.* /y\n").len(), 2);
}
