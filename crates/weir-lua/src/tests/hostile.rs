//! Scripts that would hold a worker up.

use super::*;
use crate::call::processor_time;
use std::time::Duration;

/// Runs a script beside something that wants its turn, and tells the failure and the most processor time that the
/// other had to wait for.
fn beside(body: &str, cpu: Duration) -> (String, Duration) {
    let text = format!("return {{ on_timer = print, on_request = function(req, ctx)\n{body}\nend }}");
    let limits = Limits { memory: 32 << 20, cpu, ..Limits::default() };
    let plugin = load_with(&text, Settings::new(), Policy { limits, ..Policy::default() }).expect("it loads");
    let mut visit = visit(&plugin);
    let mut x = exchange();
    let mut worst = Duration::ZERO;
    let mut begun = processor_time();
    let step = visit.on_request(&mut x);
    worst = worst.max(processor_time() - begun);
    let verdict = match step {
        weir_plugin::Step::Done(verdict) => verdict,
        weir_plugin::Step::Wait(mut waiting) => loop {
            begun = processor_time();
            let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            worst = worst.max(processor_time() - begun);
            if let Poll::Ready(verdict) = polled {
                break verdict;
            }
        },
    };
    (failure(verdict), worst)
}

#[test]
fn hostile_scripts_end_and_others_have_their_turn() {
    for (name, body, expected) in [
        ("endless loop", "while true do end", "processor time"),
        ("the same in pcall", "while true do pcall(function() while true do end end) end", "processor time"),
        (
            "looping comparator",
            "table.sort({3, 2, 1}, function() while true do end end)",
            "cannot have their turn",
        ),
        (
            "looping comparator in pcall",
            "while true do pcall(table.sort, {3, 2, 1}, function() while true do end end) end",
            "processor time|cannot have their turn",
        ),
        (
            "gsub with a callback",
            "string.gsub('aaa', 'a', function() while true do end end)",
            "cannot have their turn",
        ),
        (
            "pattern bomb",
            "string.find(string.rep('a', 30), string.rep('a*', 30) .. 'b')",
            "cannot have their turn",
        ),
        (
            "search bomb",
            "string.find(string.rep('a', 4000000), string.rep('a', 60000) .. 'b', 1, true)",
            "Proceed|processor time",
        ),
        ("large search bomb", "string.find('a', string.rep('a', 2000000))", "a pattern of at most"),
        ("memory bomb by rep", "local s = string.rep('a', 100000000)", "string.rep makes at most"),
        (
            "metamethod loop",
            "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
            "stack overflow",
        ),
        (
            "coroutine bomb",
            "local function f() coroutine.wrap(f)() end f()",
            "C stack overflow|processor time",
        ),
        (
            "coroutines",
            "local t = {} while true do table.insert(t, coroutine.create(function() end)) end",
            "processor time",
        ),
        (
            "looping tostring",
            "error(setmetatable({}, {__tostring = function() while true do end end}))",
            "cannot have their turn",
        ),
        ("recursion", "local function f(n) return 1 + f(n + 1) end return f(1)", "stack overflow"),
        (
            "sort of a million",
            "local t = {} for i = 1, 1000000 do t[i] = -i end table.sort(t)",
            "processor time",
        ),
        (
            "strings of 30 MB",
            "local s = string.rep('a', 4000000) s = s .. s .. s .. s return string.upper(s)",
            "string.upper takes at most|processor time",
        ),
        (
            "large set",
            "string.find(string.rep('a', 4000000), '[' .. string.rep('b', 60000) .. 'a]*')",
            "takes too long",
        ),
        (
            "large set in gsub",
            "string.gsub(string.rep('a', 4000000), '[' .. string.rep('b', 60000) .. ']', '')",
            "takes too long",
        ),
        ("JSON bomb", "local t = {} for i = 1, 40 do t = {t, t} end weir.json.encode(t)", "too large"),
        (
            "stall in xpcall",
            "local t = setmetatable({}, {__index = xpcall, __call = function() end})
            table.sort({1, 2}, function() while true do local _ = t[type] end end)",
            "cannot have their turn",
        ),
        ("10,000 timers", "for i = 1, 10000 do weir.timer.set('t' .. i, 1) end", "too large: 1000"),
        (
            "headers without end",
            "local i = 0 while true do i += 1 req.headers:set('x' .. i, '1') end",
            "too large: 1000|processor time",
        ),
        ("coerced sizes", "return string.rep('a', '60000000')", "string.rep makes at most"),
        ("loop in a coroutine", "coroutine.wrap(function() while true do end end)()", "processor time"),
    ] {
        let (failure, worst) = beside(body, Limits::default().cpu);
        println!("{name}: worst gap {worst:?}: {failure}");
        assert!(expected.split('|').any(|expected| failure.contains(expected)), "{name}: {failure}");
        assert!(worst < Duration::from_secs(2), "{name}: nobody else had a turn for {worst:?}");
    }
}

#[test]
fn memory_bombs_end_by_their_memory() {
    for (name, body) in [
        ("memory bomb", "local t = {} while true do table.insert(t, string.rep('a', 1000000) .. #t) end"),
        ("doubling", "local s = 'a' while true do s = s .. s end"),
        ("coroutines", "local t = {} while true do table.insert(t, coroutine.create(function() end)) end"),
    ] {
        let (failure, worst) = beside(body, Duration::from_secs(60));
        println!("{name}: worst gap {worst:?}: {failure}");
        assert!(failure.contains("memory is used up"), "{name}: {failure}");
    }
}

#[test]
fn a_generator_is_right_under_preemption() {
    let limits = Limits {
        slice: Duration::from_micros(20),
        cpu: Duration::from_secs(60),
        stall: Duration::from_secs(60),
        ..Limits::default()
    };
    let (x, verdict) = run_with(
        r#"
        local function squares(n)
          return coroutine.wrap(function()
            for i = 1, n do
              for _ = 1, 200 do end
              coroutine.yield(i, i * i)
            end
            return nil
          end)
        end
        local sum, count = 0, 0
        local outer = coroutine.wrap(function()
          for i, s in squares(2000) do
            sum += s
            count += 1
            if i % 100 == 0 then coroutine.yield("more") end
          end
          return "done"
        end)
        local last
        repeat last = outer() until last ~= "more"
        assert(last == "done", last)
        req.path = "/" .. count .. "/" .. sum
        "#,
        limits,
    );
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    assert_eq!(x.uri.path(), "/2000/2668667000");
}

#[test]
fn the_library_is_right_where_it_is_ours() {
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let (_, verdict) = run_with(
        r#"
        local t, n = {}, 5000
        for i = 1, n do t[i] = (i * 7919) % n end
        local copy = table.clone(t)
        table.sort(t)
        for i = 1, n do assert(t[i] == i - 1, i) end
        table.sort(copy, function(a, b) return a > b end)
        for i = 1, n do assert(copy[i] == n - i, i) end
        local many = {}
        for i = 1, 25000 do many[i] = tostring(i % 10) end
        local joined = table.concat(many, ",")
        assert(#joined == 49999 and string.sub(joined, 1, 5) == "1,2,3")
        local found, to = string.find("xx" .. string.rep("ab", 100), string.rep("ab", 20), 1, true)
        assert(found == 3 and to == 42)
        assert(string.find("abc", string.rep("z", 20)) == nil)
        local ok, message = pcall(coroutine.yield)
        assert(not ok and string.find(message, "outside a coroutine"))
        local thread = coroutine.create(function(a, b)
          local c = coroutine.yield(a + b)
          error("x" .. c)
        end)
        local ok, sum = coroutine.resume(thread, 1, 2)
        assert(ok and sum == 3)
        local ok, message = coroutine.resume(thread, 5)
        assert(not ok and string.find(message, "x5"), message)
        assert(coroutine.status(thread) == "dead")
        "#,
        limits,
    );
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
}

#[test]
fn a_state_without_memory_is_retired() {
    let text = "local t = {} return { on_request = function(req) while true do table.insert(t, string.rep('a', 100000) .. #t) end end }";
    let limits = Limits { memory: 16 << 20, cpu: Duration::from_secs(60), ..Limits::default() };
    let plugin = load_with(text, Settings::new(), Policy { limits, ..Policy::default() }).expect("it loads");
    let instance: Rc<dyn Instance> = block_on(plugin.instantiate().finish()).expect("it starts");
    assert!(!instance.is_spent());
    let mut x = exchange();
    let message = failure(block_on(instance.clone().visit().on_request(&mut x).finish()));
    assert!(message.contains("memory is used up"), "{message}");
    assert!(instance.is_spent());
}

#[test]
fn a_message_has_no_more_fields_than_it_may() {
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let body = "for i = 1, 5000 do req.headers:set('x' .. i, '1') end";
    let (x, verdict) = run_with(body, limits.clone());
    assert!(failure(verdict).contains("too large: 1000 is the most"));
    assert_eq!(x.headers.len(), 1000);
    let (_, verdict) = run_with("req.headers:set('x', string.rep('a', 100000))", limits);
    assert!(failure(verdict).contains("too large: 65536"));
}

#[test]
fn a_generator_in_a_comparator_is_right_however_short_the_turns() {
    let limits = Limits {
        slice: Duration::from_micros(20),
        cpu: Duration::from_secs(60),
        stall: Duration::from_secs(60),
        ..Limits::default()
    };
    let (x, verdict) = run_with(
        r#"
        local sum = 0
        table.sort({ 3, 2, 1 }, function(a, b)
          for n in coroutine.wrap(function() for i = 1, 500 do for _ = 1, 100 do end coroutine.yield(i) end end) do
            sum += n
          end
          return a < b
        end)
        assert(sum % 125250 == 0 and sum > 0, sum)
        req.path = "/right"
        "#,
        limits,
    );
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    assert_eq!(x.uri.path(), "/right");
}

#[test]
fn what_is_lent_works_on_so_much_at_once() {
    for (name, body) in [
        ("hash", "weir.crypto.hash('sha512', long)"),
        ("hmac", "weir.crypto.hmac('sha512', 'key', long)"),
        ("encode", "weir.codec.hex_encode(long)"),
        ("decode", "weir.codec.url_decode(long)"),
        ("regex", "weir.regex.is_match('(a|b)*c', long)"),
        ("replace", "weir.regex.replace('a', string.rep('a', 1000000), string.rep('b', 1000000))"),
        ("JSON", "weir.json.encode({ long })"),
    ] {
        let body = format!("local long = string.rep('a', 4000000) long = long .. long {body}");
        let (failure, worst) = beside(&body, Duration::from_secs(60));
        println!("{name}: worst gap {worst:?}: {failure}");
        assert!(failure.contains("too large"), "{name}: {failure}");
    }
}
