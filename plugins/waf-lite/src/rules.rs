//! The rules that come with the plugin. Each is a pattern that is tried where one of its literals occurs; patterns see
//! lower case, one space for any white space, and what was decoded (`normalise`).

/// Where a rule looks: a set of [`Place`](crate::settings::Place)s, one bit each.
pub type Places = u8;

pub const PATH: Places = 1;
pub const QUERY: Places = 2;
pub const HEADERS: Places = 4;
pub const COOKIES: Places = 8;
pub const BODY: Places = 16;
pub const EVERYWHERE: Places = PATH | QUERY | HEADERS | COOKIES | BODY;
/// What is no long text that people write.
const SHORT: Places = PATH | QUERY | HEADERS | COOKIES;

/// A rule that comes with the plugin.
pub struct Rule {
    /// As it is counted, logged and allowed; what is before the first `-` is its family.
    pub id: &'static str,
    /// What a request that matches gets, once: 5 is an attack, 3 may be one.
    pub score: u32,
    pub places: Places,
    /// One of these must occur, in lower case; there is at least one.
    pub literals: &'static [&'static str],
    /// `EVENTS` stands for names of events in HTML, without `on`.
    pub pattern: &'static str,
}

/// Names of events in HTML, without `on`.
pub const EVENTS: &str = "(?:error|load[a-z]*|click|dblclick|auxclick|mouse[a-z]+|pointer[a-z]+|key[a-z]+|focus[a-z]*|blur\
|change|input|submit|reset|select[a-z]*|toggle|begin|end|ended|repeat|animation[a-z]+|transition[a-z]+|drag[a-z]*|drop|copy\
|cut|paste|wheel|scroll[a-z]*|resize|touch[a-z]+|hashchange|popstate|message|page[a-z]+|before[a-z]+|after[a-z]+|unload\
|play[a-z]*|canplay[a-z]*|seek[a-z]+|timeupdate|volumechange|waiting|show|start|finish|bounce|invalid|search|context[a-z]+\
|webkit[a-z]+|cancel|close|durationchange|storage|readystatechange)";

const fn rule(
    id: &'static str,
    score: u32,
    places: Places,
    literals: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule { id, score, places, literals, pattern }
}

/// All of them.
pub const RULES: &[Rule] = &[
    // SQL. English has "union", "select", "or", "drop" and apostrophes, too: what makes an attack is what stands beside them.
    rule(
        "sqli-union",
        5,
        EVERYWHERE,
        &["union"],
        r#"\bunion\b[ (]*(?:(?:all|distinct)\b[ (]*select\b|select\b[ (]*(?:null\b|[0-9'"@*\x60-]|[a-z0-9_.]+ ?,|[a-z0-9_]+ ?\())|(?:['")0-9]|\bnull)[ )]*\bunion\b[ (]*select\b"#,
    ),
    rule(
        "sqli-tautology",
        5,
        EVERYWHERE,
        &["=", "<", ">", "like"],
        r#"['"\x60][ )]*(?:\bx?or\b|\band\b|\|\||&&)[ (]*(?:not )?[ (]*(?:[0-9]+|'[^']{0,40}'?|"[^"]{0,40}"?)[ )]*(?:=|<>|!=|<|>|\blike\b)[ (]*(?:[0-9]+|['"])|\b[0-9]+[ )]*(?:(?:\bx?or\b|\band\b|\|\||&&)[ (]*(?:not )?[ (]*[0-9]+[ )]*(?:=|<>|!=)[ (]*[0-9]|\bx?or\b[ (]*[0-9]+ ?[<>] ?[0-9])"#,
    ),
    rule(
        "sqli-always",
        5,
        EVERYWHERE,
        &["'", "\""],
        r#"['"][ )]*(?:\bor\b|\|\|)[ (]*(?:true|1|not false|not 0)[ );]*(?:--|#|/\*|$)"#,
    ),
    rule("sqli-comment", 5, EVERYWHERE, &["--", "#", "/*"], r#"^[^'"]{0,64}['"][ );]*(?:--[ +-]*|#|/\*) ?$"#),
    rule(
        "sqli-stacked",
        5,
        EVERYWHERE,
        &[";"],
        r#"(?:['")]|\b[0-9]+)[ )]*; ?(?:(?:drop|alter|create|truncate) (?:table|database|schema|view|user|index|procedure|function|login)\b|insert into |delete from |update [a-z0-9_.]+ set |exec(?:ute)? ?\(? ?(?:sp_|xp_|master)|shutdown ?(?:with|;|--|$)|declare @|select [^;]{0,80}\bfrom\b|copy [a-z_]+ (?:from|to) program)"#,
    ),
    rule(
        "sqli-subselect",
        5,
        EVERYWHERE,
        &["select"],
        r#"['"0-9)] ?(?:\band\b|\bor\b|\|\||&&|[=<>,+*^-]|\bin\b) ?(?:not )?(?:exists ?)?\( ?select\b"#,
    ),
    rule(
        "sqli-blind",
        5,
        EVERYWHERE,
        &["ascii", "substr", "ord", "mid", "length", "exists", "count"],
        r#"['"0-9)] ?(?:\band\b|\bor\b|\|\||&&) ?\(* ?(?:ascii|substring|substr|ord|mid|length|char_length|exists|count) ?\( ?(?:\(|select\b|database ?\(|user ?\(|version ?\(|@@|current_user|password|lower ?\(|substr)"#,
    ),
    rule(
        "sqli-time",
        5,
        EVERYWHERE,
        &["sleep", "benchmark", "waitfor"],
        r#"(?:['"0-9)] ?(?:\band\b|\bor\b|\|\||&&|[\^+*/,-]) ?|\bselect ?|\bif ?\([^)]{1,40}, ?)\(* ?(?:select )?sleep ?\( ?['"0-9(]|pg_sleep ?\( ?[0-9]|benchmark ?\( ?[0-9]{4,} ?,|waitfor delay ?['"(@]"#,
    ),
    rule(
        "sqli-function",
        5,
        EVERYWHERE,
        &[
            "load_file",
            "extractvalue",
            "updatexml",
            "xp_cmdshell",
            "sp_executesql",
            "sp_oacreate",
            "utl_http",
            "dbms_",
            "pg_read_file",
            "lo_import",
            "outfile",
            "dumpfile",
        ],
        r#"\b(?:load_file|extractvalue|updatexml|pg_read_file|lo_import) ?\( ?['"0-9a-z(]|\bxp_cmdshell\b|\bsp_(?:executesql|oacreate)\b|utl_http\.request|dbms_(?:pipe\.receive_message|ldap\.init|lock\.sleep)|\binto (?:out|dump)file ?['"]"#,
    ),
    rule(
        "sqli-schema",
        3,
        EVERYWHERE,
        &[
            "information_schema",
            "sysobjects",
            "pg_catalog",
            "sqlite_master",
            "@@version",
            "mysql.user",
            "all_tables",
        ],
        r"information_schema|\bsysobjects\b|pg_catalog|sqlite_master|@@version|mysql\.user|\ball_tables\b",
    ),
    rule(
        "sqli-order",
        5,
        EVERYWHERE,
        &[" by ", "having"],
        r#"['"][ )]*(?:order|group) by [0-9]+ ?(?:--|#|,|$)|(?:['")]|\b[0-9]+)[ )]*having [0-9'"]+ ?[=<>]"#,
    ),
    rule(
        "sqli-concat",
        5,
        EVERYWHERE,
        &["||", "+"],
        r#"['"] ?(?:\|\||\+) ?\(? ?(?:select|case when|cast|chr|char|utl_http|convert) ?\("#,
    ),
    rule(
        "nosql-operator",
        5,
        QUERY | BODY | COOKIES,
        &["[$", "$where", "$function"],
        r"\[\$(?:ne|eq|gt|lt|gte|lte|regex|where|in|nin|exists|or|and|not|expr)\]|^\$(?:where|function)$",
    ),
    // HTML and script.
    rule(
        "xss-script",
        5,
        EVERYWHERE,
        &["<script", "< script"],
        r"< ?script\b[^>]*(?:>[^<]{0,200}(?:[a-z0-9_$\])](?:[(\x60\[]| ?=[^=>])|\b(?:alert|confirm|prompt|eval|fetch|import) ?\()|[ /](?:src|href|xlink:href) ?=)",
    ),
    rule("xss-script-tag", 3, EVERYWHERE, &["<script", "</script"], r"</?script[ />]"),
    rule("xss-event", 5, EVERYWHERE, &["<"], r#"<[a-z!/][^>]{0,300}[ /"'\x60]onEVENTS ?="#),
    rule(
        "xss-attribute",
        5,
        EVERYWHERE,
        &["="],
        r#"['"\x60][ /]+(?:[a-z]+ )?onEVENTS ?= ?['"\x60]?[a-z\[(]"#,
    ),
    rule(
        "xss-uri",
        5,
        EVERYWHERE,
        &["script", "data:"],
        r"\b(?:java|vb) ?script ?:[^ ]{0,80}[a-z0-9_\])][(\x60=\[]|\bdata: ?text/html[^,]{0,40},",
    ),
    rule(
        "xss-embed",
        3,
        EVERYWHERE,
        &["<iframe", "<object", "<embed", "<applet", "<base", "<meta", "<form"],
        r"<(?:iframe|object|embed|applet|base|form)\b[^>]*[ /](?:src|href|data|action|code) ?=|<meta\b[^>]*http-equiv",
    ),
    rule("xss-srcdoc", 5, EVERYWHERE, &["srcdoc"], r"<iframe\b[^>]*[ /]srcdoc ?="),
    rule(
        "xss-code",
        3,
        EVERYWHERE,
        &["document", "eval", "fromcharcode"],
        r"\bdocument ?[.\[] ?['\x22]?(?:cookie|domain|write)\b|\beval ?\( ?(?:atob|string|unescape|location)|fromcharcode ?\(",
    ),
    // Files.
    rule("traversal-deep", 5, EVERYWHERE, &[".."], r"(?:\.\.;?[/\\]+|\.{4}[/\\]{2}){3,}"),
    rule("traversal", 3, EVERYWHERE, &[".."], r"(?:^|[/\\=:;|\x22'])(?:\.\.;?[/\\]|\.{4}//)"),
    rule("traversal-path", 5, PATH, &[".."], r"[/\\]\.\.;?(?:[/\\]|$)"),
    rule(
        "file-system",
        3,
        EVERYWHERE,
        &["/etc/", "/proc/", "\\etc\\", ".ini", "system32", "wp-config", "web.config", "id_rsa", "web-inf"],
        r"[/\\]etc[/\\](?:passwd|shadow|group|hosts|issue|sudoers|ssh)\b|/proc/(?:self|[0-9]+)/|\b(?:boot|win)\.ini\b|[/\\]system32[/\\]|wp-config\.php|web\.config\b|\bid_rsa\b|web-inf/",
    ),
    rule(
        "file-whole",
        5,
        QUERY | COOKIES | BODY,
        &["/etc/", "/proc/", ":\\", ":/"],
        r"^(?:file:/*)?/+(?:etc/(?:passwd|shadow|group|hosts|issue|sudoers)|proc/(?:self|[0-9]+)/[a-z]+)\b[^ ]{0,8}$|^[a-z]:[/\\]+(?:windows|winnt|boot\.ini)\b",
    ),
    rule(
        "file-hidden",
        5,
        PATH,
        &["/."],
        r"/\.(?:git|svn|hg|env|ssh|aws|htaccess|htpasswd|ds_store)(?:[/.]|$)",
    ),
    rule(
        "file-wrapper",
        5,
        QUERY | COOKIES | BODY,
        &["://"],
        r"^(?:php|expect|phar|zip|compress\.zlib|glob|jar|gopher|dict|file|netdoc)://[^ ]",
    ),
    rule("nul", 5, SHORT, &["\0"], r"\x00"),
    // Shells. Backquotes are code in Markdown, and `|` is a table there: see the places and what must follow.
    rule(
        "shell-file",
        5,
        EVERYWHERE,
        &[";", "|", "&", "$("],
        r#"(?:[;|&]|\$\() ?(?:/(?:usr/)?bin/)?(?:cat|head|tail|less|tac|nl|ls|rm|find|chmod|tar|cp|mv|touch) (?:-[a-z]+ )*['"]?[/~.$*][a-z0-9_./~*$?-]*"#,
    ),
    rule(
        "shell-probe",
        5,
        EVERYWHERE,
        &[";", "|", "&", "$("],
        r"(?:[;|&]|\$\() ?(?:whoami|uname|ifconfig|ipconfig|netstat|printenv)(?: -[a-z]+)* ?(?:[;|&)#]|$)|(?:;|&&|\$\() ?(?:id|ls|dir|pwd|env)(?: -[a-z]+)? ?(?:[;|&)#]|$)|\|(?:id|ls|dir|pwd)$",
    ),
    rule(
        "shell-net",
        5,
        EVERYWHERE,
        &[";", "|", "&", "$("],
        r"(?:[;|&]|\$\() ?(?:/(?:usr/)?bin/)?(?:wget|curl|nc|ncat|netcat|ping|nslookup|telnet|certutil(?:\.exe)?)(?: -[a-z]+(?: [0-9]+)?)* (?:https?:|ftp:|[0-9]{1,3}\.[0-9]|[a-z0-9-]+\.[a-z]{2,}|-)",
    ),
    rule(
        "shell-interpreter",
        5,
        EVERYWHERE,
        &[";", "|", "&", "$("],
        r"(?:[;|&]|\$\() ?(?:/(?:usr/)?bin/)?(?:bash|sh|zsh|dash|ksh|python[23]?|perl|ruby|php|powershell(?:\.exe)?|pwsh|cmd(?:\.exe)?) [-/][a-z]+\b",
    ),
    rule(
        "shell-sleep",
        5,
        EVERYWHERE,
        &["sleep"],
        r"(?:[|&]|\$\() ?sleep [0-9]+|^[^ ;]{0,64}; ?sleep [0-9]+ ?;?$",
    ),
    rule(
        "shell-backquote",
        5,
        SHORT,
        &["\x60"],
        r"^[^ \x60]{0,64}\x60 ?(?:whoami|id|uname|cat |ls\b|wget |curl |nc |ping |sleep [0-9])[^\x60]{0,200}\x60",
    ),
    rule("shell-shock", 5, QUERY | HEADERS | COOKIES, &["()"], r"^ ?\(\) ?\{"),
    rule("shell-trick", 5, EVERYWHERE, &["ifs", "/dev/tcp/"], r"\$\{?ifs\b|/dev/tcp/[0-9a-z]"),
    rule("shell-pipe", 3, EVERYWHERE, &["|"], r"\| ?(?:ba|z|da)?sh ?$"),
    // LDAP.
    rule(
        "ldap-filter",
        5,
        EVERYWHERE,
        &[")("],
        r"^[^(]{0,100}(?:\*\)\([|&!]?\(?[a-z*=&|]|\)\([|&!]\(|\)\([|&]\)|\)\((?:uid|cn|objectclass|userpassword|mail|samaccountname|sn|ou)=)",
    ),
    // Templates and expressions.
    rule(
        "template-arithmetic",
        5,
        EVERYWHERE,
        &["{{", "${", "#{", "<%", "*{", "@("],
        r#"(?:\{\{|[$#*]\{|<%=?|@\() ?['"]?[0-9]+['"]? ?\* ?['"]?[0-9]+['"]? ?(?:\}|%>|\))"#,
    ),
    rule(
        "template-object",
        5,
        EVERYWHERE,
        &["{{", "{%"],
        r#"\{[{%][^}]{0,200}(?:__(?:class|globals|builtins|mro|subclasses|init|import)__|\bconstructor\b ?[.(\['"]|\b_self\b|request\.(?:application|environ)|(?:lipsum|cycler|joiner|namespace)\.__|\|attr\()|\{\{ ?(?:config|self|settings\.secret_key)(?:\.items\(\)|\.__|\[)? ?\}\}"#,
    ),
    rule(
        "template-java",
        5,
        EVERYWHERE,
        &["getruntime", "processbuilder", "java.lang", "freemarker", "#_member", "@java", "%{", "ognl"],
        r"getruntime ?\(\) ?\.|[$#%*]\{[^}]{0,200}(?:t\(java\.lang|processbuilder|classloader|forname|@java|#_member|#context|ognl)|freemarker\.template\.utility|%\{ ?\(? ?#",
    ),
    rule(
        "template-erb",
        5,
        EVERYWHERE,
        &["<%"],
        r"<%=? ?[^%]{0,40}(?:\bsystem\b|\bexec\b|\x60|\bfile\.(?:open|read)|\bio\.popen|\bruntime\b)",
    ),
    rule("template-python", 3, EVERYWHERE, &["__"], r"__(?:class|globals|builtins|mro|subclasses)__"),
    rule(
        "jndi",
        5,
        EVERYWHERE,
        &["${"],
        r"\$\{ ?jndi ?:|\$\{ ?(?:lower|upper) ?: ?[a-z] ?\}|\$\{::-|\$\{[^{}]{0,40}\$\{ ?(?:lower|upper|env|sys|java|date) ?:",
    ),
    rule("xxe", 5, BODY | QUERY, &["<!entity"], r"<!entity (?:% )?[^ ]{1,100} (?:system|public)\b"),
];
