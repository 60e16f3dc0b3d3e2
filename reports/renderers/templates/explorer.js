"use strict";
// Facts, neurons and templates of the studies above, to search and to look through. Nothing is fetched, nothing is
// kept: the address says what is shown (#s=STUDY&f=FACT, &n=L3.N118 or &t=TEMPLATE), so that it can be sent.
(() => {
  const LISTED = 200;
  const root = document.getElementById("explorer");
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const [search, only, status, list, view, picker] = ["search", "only", "status", "list", "view", "study"].map(find);
  const sources = [...root.querySelectorAll("script.exploration")];
  const studies = [];
  let study, place = 0;

  // ---------------------------------------------------------------- what a page is made of
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, children, space) => {
    const node = space ? document.createElementNS(space, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("--")) node.style.setProperty(name, value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...[children ?? []].flat().filter((child) => child !== null));
    return node;
  };
  const svg = (tag, attributes, children) => make(tag, attributes, children, SVG);
  const link = (text, key, value) => make("a", { href: address(key, value) }, text);
  const address = (key, value) => `#s=${place + 1}&${key}=${encodeURIComponent(value)}`;
  const number = (value, digits = 2) =>
    value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
  const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);
  const names = JSON.parse(root.dataset.names);
  const worded = (name) => names[name] ?? name.replaceAll("_", " ");
  // A group of minimal pairs has its feature for subject and answer: its paradigm says what it is of.
  const titled = (fact) => fact.subject === fact.object && study.pairs.has(fact.id)
    ? `${fact.relation.replaceAll("_", " ")}: ${fact.object}` : `${fact.subject} → ${fact.object}`;
  const byHundred = (n, total) => `${((100 * n) / total).toFixed(1)}%`;
  const counted = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
  const table = (heads, rows, caption) =>
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, [
      make("table", {}, [
        make("caption", { class: "hidden" }, caption),
        make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
        make("tbody", {}, rows),
      ]),
    ]);
  const row = (head, cells) =>
    make("tr", {}, [make("th", { scope: "row" }, head), ...cells.map((cell) => (cell instanceof Element && cell.tagName === "TD" ? cell : make("td", {}, cell)))]);

  // ---------------------------------------------------------------- the data
  const named = (names, values) => Object.fromEntries(names.map((name, n) => [name, values[n]]));
  const absent = { activation_after: [], product: [], product_after: [] }; // in files of older versions
  const read = (n) => {
    if (studies[n]) return studies[n];
    const data = JSON.parse(sources[n].textContent);
    data.facts = data.facts.map((values) => ({ ...absent, ...named(data.fact, values) }));
    for (const fact of data.facts) {
      fact.queries = fact.queries.map((values) => ({ attention: [], ...named(data.query, values) }));
      fact.words = [fact.id, fact.subject, fact.relation, fact.object].join("\n").toLowerCase();
    }
    data.byId = new Map(data.facts.map((fact) => [fact.id, fact]));
    data.pairs = new Set(data.pairs);
    data.shared = new Map(data.shared);
    data.shared_by_pairs = new Map(data.shared_by_pairs);
    data.tokens = new Map(data.tokens.map(([neuron, ...both]) => [neuron, both.map((ids) => ids.map((id) => data.words[id]))]));
    return (studies[n] = data);
  };
  const label = (neuron) => `L${Math.floor(neuron / study.n_neurons)}.N${neuron % study.n_neurons}`;
  const parsed = (text) => {
    const parts = /^l(\d+)\.?n(\d+)$/i.exec(text.trim());
    if (!parts || +parts[1] >= study.n_layers || +parts[2] >= study.n_neurons) return null;
    return +parts[1] * study.n_neurons + +parts[2];
  };
  const having = (neuron) => {
    if (!study.index) {
      study.index = new Map();
      for (const fact of study.facts)
        for (const query of fact.queries)
          query.neurons.forEach((n, k) => {
            if (!study.index.has(n)) study.index.set(n, []);
            study.index.get(n).push([fact, query, query.strengths[k]]);
          });
    }
    return study.index.get(neuron) || [];
  };

  // Facts and groups of minimal pairs are counted apart, as in the report: each has words and a total of its own.
  const units = () => [
    { one: "fact", many: "facts", total: study.n_facts, shared: study.shared, of: (facts) => facts.filter((fact) => !study.pairs.has(fact.id)) },
    { one: "group of minimal pairs", many: "groups of minimal pairs", total: study.n_pairs, shared: study.shared_by_pairs, of: (facts) => facts.filter((fact) => study.pairs.has(fact.id)) },
  ];
  const inWords = (facts) =>
    units().map((kind) => [kind, kind.of(facts).length]).filter(([kind, n]) => n || (!facts.length && kind.one === "fact"))
      .map(([kind, n]) => counted(n, kind.one, kind.many)).join(" and ");

  // ---------------------------------------------------------------- the list
  const matching = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    return study.facts.filter(
      (fact) => (!only.checked || fact.inconsistent === true) && words.every((word) => fact.words.includes(word)),
    );
  };
  const entry = (text, note, key, value) =>
    make("li", {}, make("a", { href: address(key, value) }, [make("span", {}, text), make("small", {}, note)]));
  const refresh = () => {
    const facts = matching(), neuron = parsed(search.value);
    const text = search.value.trim().toLowerCase();
    const templates = text ? study.templates.filter((name) => name.toLowerCase().includes(text)).slice(0, 5) : [];
    const entries = facts.slice(0, LISTED).map((fact) => entry(titled(fact), study.pairs.has(fact.id) ? "minimal pairs" : fact.relation, "f", fact.id));
    entries.unshift(...templates.map((name) => entry(name, "template", "t", name)));
    if (neuron !== null) entries.unshift(entry(label(neuron), "neuron", "n", label(neuron)));
    list.replaceChildren(...entries);
    const more = facts.length > LISTED ? `, the first ${LISTED} listed` : "";
    status.textContent = inWords(facts) + more;
    mark();
  };
  const mark = () => {
    for (const a of list.querySelectorAll("a")) {
      if (a.getAttribute("href") === location.hash) a.setAttribute("aria-current", "true");
      else a.removeAttribute("aria-current");
    }
  };

  // ---------------------------------------------------------------- a fact
  const strips = (fact) => {
    const peers = study.facts.filter((other) => other.relation === fact.relation);
    const cells = study.scores.map((name, n) => {
      const value = fact.scores[n];
      const values = peers.map((other) => other.scores[n]).filter((v) => v !== null);
      if (value === null || !values.length) return null;
      const low = Math.min(0, ...values), high = Math.max(1, ...values);
      const at = (v) => 4 + (192 * (v - low)) / (high - low);
      const below = values.filter((v) => v < value).length;
      const words = `${name} = ${number(value, 3)}: higher than ${below} of ${values.length - 1} others of ${fact.relation}`;
      return make("div", { class: "strip" }, [
        make("p", {}, words),
        svg("svg", { viewBox: "0 0 200 30", role: "img", "aria-label": words }, [
          svg("line", { x1: 4, x2: 196, y1: 12, y2: 12 }),
          ...values.map((v) => svg("circle", { cx: at(v), cy: 12, r: 3 })),
          svg("circle", { cx: at(value), cy: 12, r: 5, class: "this" }),
          svg("text", { x: 4, y: 28 }, number(low, 1)),
          svg("text", { x: 196, y: 28, "text-anchor": "end" }, number(high, 1)),
        ]),
      ]);
    });
    return make("div", { class: "strips" }, cells);
  };
  const queries = (fact) => {
    const told = fact.queries.some((query) => query.candidates.length);
    return table(
      ["Prompt", "Template", "Right?", "P(answer)", "Rank", ...(told ? ["Likeliest answers of the relation"] : []), "Neurons"],
      fact.queries.map((query) =>
        row(query.prompt, [
          link(study.templates[query.template], "t", study.templates[query.template]),
          query.known ? "yes" : "no",
          query.log_probability === null ? "–" : Math.exp(query.log_probability).toPrecision(2),
          query.rank < 0 ? "–" : String(query.rank),
          ...(told ? [query.candidates.map(([name, p]) => `${name} ${(p / 1000).toFixed(2)}`).join(", ") || "–"] : []),
          String(query.neurons.length),
        ]),
      ),
      "Queries of the fact",
    );
  };
  // Before and after have one scale, so that what was taken away is seen.
  const heat = (fact, values, shown, beside) => {
    const largest = Math.max(...[...values, ...(beside || [])].flat().map((v) => Math.abs(v ?? 0)), 1e-9);
    const bands = [];
    for (const neuron of fact.columns) {
      const layer = Math.floor(neuron / study.n_neurons);
      if (bands.length && bands.at(-1)[0] === layer) bands.at(-1)[1] += 1;
      else bands.push([layer, 1]);
    }
    const heads = make("thead", {}, [
      make("tr", {}, [make("td", {}), ...bands.map(([layer, n]) => make("th", { class: "band", colspan: n, scope: "colgroup" }, `L${layer}`))]),
      make("tr", {}, [make("td", {}), ...fact.columns.map((neuron) => make("th", { class: "name", scope: "col" }, link(`N${neuron % study.n_neurons}`, "n", label(neuron))))]),
    ]);
    const body = fact.queries.map((query, n) =>
      make("tr", {}, [
        make("th", { scope: "row" }, query.prompt),
        ...fact.columns.map((neuron, k) => {
          const value = values[n][k], member = query.neurons.includes(neuron);
          const names = [value < 0 ? "less" : "", member ? "in" : ""].filter(Boolean).join(" ");
          return make("td", { class: names || null, "--v": value === null ? 0 : Math.abs(value) / largest }, shown(value));
        }),
      ]),
    );
    return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Queries and neurons" },
      make("table", { class: "heat" }, [make("caption", { class: "hidden" }, "Queries (rows) and neurons (columns)"), heads, make("tbody", {}, body)]));
  };
  const heatmap = (fact) => {
    if (!fact.columns.length) return [];
    const kinds = [["attribution", "Attribution, % of the query's maximum", fact.attribution, (v) => number(v, 0)]];
    if (fact.activation.length) kinds.push(["activation", "Activation", fact.activation, (v) => number(v, 1)]);
    if (fact.activation_after.length) {
      kinds.push(["activation-after", "Activation, synapses suppressed", fact.activation_after, (v) => number(v, 1), fact.activation]);
      kinds.push(["product", "Gradient × activation", fact.product, (v) => number(v, 0), fact.product_after]);
      kinds.push(["product-after", "Gradient × activation, synapses suppressed", fact.product_after, (v) => number(v, 0), fact.product]);
    }
    const place_ = make("div");
    const show = (kind) => place_.replaceChildren(heat(fact, kind[2], kind[3], kind[4]));
    const choices = kinds.map((kind, n) => {
      const radio = make("input", { type: "radio", name: "heat", value: kind[0], checked: n === 0 ? "" : null });
      radio.addEventListener("change", () => show(kind));
      return make("label", {}, [radio, ` ${kind[1]}`]);
    });
    show(kinds[0]);
    return [
      make("h4", {}, "Queries × neurons"),
      make("p", { class: "quiet" }, `The ${fact.columns.length} neurons with the largest mean attribution; framed where the neuron is in the query's set (${study.rule}). Blue is positive, orange negative; the darker (in dark mode, the brighter) the larger.`),
      make("fieldset", { class: "switch" }, [make("legend", { class: "hidden" }, "What the cells show"), ...choices]),
      place_,
      ...(fact.activation_after.length ? [make("p", { class: "quiet" }, "Suppressed: with the query's own knowledge synapses taken away. Gradient × activation is in percent of the query's largest before; attribution along paths is not run again.")] : []),
    ];
  };
  const attention = (fact) => {
    const told = fact.queries.filter((query) => query.attention.length);
    if (!told.length) return [];
    const place_ = make("div");
    const show = (query) => {
      const head = make("tr", {}, [make("td", {}), ...query.tokens.map((token) => make("th", { class: "name", scope: "col" }, token))]);
      const rows = query.attention.map(([layer, n, shares, synapses]) =>
        make("tr", {}, [
          make("th", { scope: "row" }, `L${layer}.H${n}`),
          ...shares.map((share, k) => make("td", { class: synapses.includes(k) ? "in" : null, "--v": share / 1000 }, (share / 1000).toFixed(2))),
        ]));
      place_.replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Attention of the target" },
        make("table", { class: "heat attention" }, [make("caption", { class: "hidden" }, "Heads (rows) and tokens (columns)"), make("thead", {}, head), make("tbody", {}, rows)])));
    };
    const picked = make("select", { "aria-label": "Query" }, told.map((query, n) => make("option", { value: n }, query.prompt)));
    picked.addEventListener("change", () => show(told[+picked.value]));
    show(told[0]);
    return [
      make("h4", {}, "What the target attends to"),
      make("p", { class: "quiet" }, "Attention from the position that predicts the answer, of the heads that give most to the query's knowledge synapses, which are framed: (layer, head, token) columns with more than their share of attention, the first token aside."),
      make("p", {}, picked), place_,
    ];
  };
  // A line a set of neurons, a column an operation; the shade of a cell is as long as its effect.
  const effects = (names, values, shown, caption) => {
    const pairs = names.map((name) => { // a set of the user's own may have commas in its name
      const end = name.indexOf(", ");
      return [name.slice(0, end), name.slice(end + 2)];
    });
    const operations = [...new Set(pairs.map(([operation]) => operation))], sets_ = [...new Set(pairs.map(([, set]) => set))];
    const largest = Math.max(...values.map((value) => Math.abs(value?.[0] ?? 0)), 1e-9);
    const cell = (set, operation) => {
      const value = values[pairs.findIndex(([a, b]) => a === operation && b === set)];
      if (!value || value[0] === null) return "–";
      return make("td", { class: value[0] < 0 ? "less" : "more", "--v": Math.abs(value[0]) / largest }, shown(value));
    };
    const rows = sets_.map((set) => row(worded(set), operations.map((operation) => cell(set, operation))));
    const shell = table(["Neurons", ...operations.map(worded)], rows, caption);
    shell.firstChild.classList.add("effects");
    return shell;
  };
  const arms = (fact) => {
    if (!fact.arms.length || fact.arms.every(([odds]) => odds === null)) return [];
    return [
      make("h4", {}, "What changing neurons does to the answer"),
      make("p", { class: "quiet" }, "Mean over the queries that are answered right: change of the log-odds of the answer in nats, and in brackets of its probability in percentage points."),
      effects(study.arms, fact.arms, ([odds, share]) => `${signed(odds, 2)} (${signed(share, 1)})`, "Effects of interventions"),
    ];
  };
  const edits = (fact) => {
    if (!fact.edits.length) return [];
    const ranks = ([, before, after]) => (after < 0 ? "" : ` (${before} → ${after})`);
    return [
      make("h4", {}, "What edits of weights do"),
      make("p", { class: "quiet" }, `At the prompt that was edited: change of log P of ${fact.object} in nats, and in brackets the rank of ${fact.new_object}, which updates write in its place, before and after.`),
      effects(study.edits, fact.edits, (value) => signed(value[0], 2) + ranks(value), "Effects of edits"),
    ];
  };
  const sets = (fact) => [
    make("h4", {}, "Knowledge neurons of each query"),
    ...fact.queries.map((query) =>
      make("details", {}, [
        make("summary", {}, [`${query.prompt} `, make("span", { class: "n" }, counted(query.neurons.length, "neuron", "neurons"))]),
        make("p", { class: "chips" }, query.neurons.map((neuron, n) => make("a", { href: address("n", label(neuron)) }, `${label(neuron)} ${query.strengths[n]}%`))),
      ]),
    ),
  ];
  const factView = (fact) => {
    const facts = matching().includes(fact) ? matching() : study.facts, at = facts.indexOf(fact);
    const state = { true: `inconsistent: CS2 is below ${study.cut}`, false: `consistent: CS2 is at least ${study.cut}` }[fact.inconsistent];
    const step = (other, text) => (other ? link(text, "f", other.id) : null);
    return [
      make("h3", {}, titled(fact)),
      make("p", { class: "quiet" }, [fact.relation, fact.id, state || "no consistency: fewer than two queries that are answered right and have neurons"].join(" · ")),
      ...(study.pairs.has(fact.id) ? [make("p", { class: "quiet" }, "Minimal pairs, whose good form is the answer: a query is answered right where it is likelier than the bad form.")] : []),
      make("p", { class: "steps" }, [step(facts[at - 1], "← previous (k)"), step(facts[at + 1], "next (j) →")]),
      strips(fact), make("h4", {}, "Queries"), queries(fact), ...heatmap(fact), ...attention(fact), ...arms(fact), ...edits(fact), ...sets(fact),
    ];
  };

  // ---------------------------------------------------------------- a neuron
  const tokens = (neuron) => {
    const both = study.tokens.get(neuron);
    if (!both) return [];
    const line = (head, texts) => make("p", { class: "chips tokens" }, [make("strong", {}, `${head} `), ...texts.map((text) => make("span", {}, text))]);
    return [
      make("h4", {}, "Tokens that it promotes and suppresses"),
      make("p", { class: "quiet" }, "Whose logits its row of the down-projection raises and lowers most (row · output embedding; norms and layers in between left out). A negative activation turns them around."),
      line("Promotes", both[0]), line("Suppresses", both[1]),
    ];
  };
  const neuronView = (neuron) => {
    const facts = new Map(), templates = new Map();
    for (const [fact, query, strength] of having(neuron)) {
      const seen = facts.get(fact) || [0, 0, 0];
      facts.set(fact, [seen[0] + query.known, seen[1] + 1, Math.max(seen[2], strength)]);
      templates.set(query.template, (templates.get(query.template) || 0) + 1);
    }
    const parts = units().map((kind) => [kind, kind.shared.get(neuron) || 0]).filter(([, n]) => n);
    const of = parts.map(([kind, n]) => `${n.toLocaleString("en")} of the study's ${counted(kind.total, kind.one, kind.many)} (${byHundred(n, kind.total)})`);
    const than = parts.map(([kind, n]) => {
      const more = [...kind.shared.values()].filter((other) => other > n).length;
      const hub = 10 * n >= kind.total ? ` So many ${kind.many} share it that it says little of any one: a hub.` : "";
      return ` Of the ${counted(kind.shared.size, "neuron", "neurons")} of ${kind.many} here, ${more === 1 ? "1 is" : more ? `${more.toLocaleString("en")} are` : "none is"} shared by more.${hub}`;
    });
    const right = [...facts.values()].some(([known]) => known);
    const without = right ? "In sets of the queries below." : facts.size ? "In the set of no query that is answered right." : "In the set of no query here.";
    const rows = [...facts].sort((a, b) => b[1][0] - a[1][0] || b[1][1] - a[1][1] || b[1][2] - a[1][2]).slice(0, LISTED)
      .map(([fact, [known, k, strength]]) => row(link(titled(fact), "f", fact.id), [fact.relation, String(known), `${k} of ${fact.queries.length}`, `${strength}%`]));
    const often = [...templates].sort((a, b) => b[1] - a[1]).slice(0, LISTED)
      .map(([template, k]) => row(link(study.templates[template], "t", study.templates[template]), [String(k)]));
    return [
      make("h3", {}, label(neuron)),
      make("p", {}, parts.length ? `A knowledge neuron of ${of.join(" and of ")}, counting queries that are answered right.${than.join("")}` : without),
      ...tokens(neuron),
      ...(rows.length ? [make("h4", {}, "Whose queries have it"), table(["Fact", "Relation", "Queries answered right", "All queries", "Strongest"], rows, "Facts with this neuron"),
        make("h4", {}, "Templates"), table(["Template", "Queries with it"], often, "Templates with this neuron")] : []),
    ];
  };

  // ---------------------------------------------------------------- a template
  const dice = (a, b) => (a.length && b.length ? (2 * a.filter((n) => b.includes(n)).length) / (a.length + b.length) : null);
  const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
  const templateView = (name) => {
    const template = study.templates.indexOf(name);
    const facts = study.facts.filter((fact) => fact.queries.some((query) => query.template === template));
    const own = (fact, t) => fact.queries.find((query) => query.template === t);
    const others = [...new Set(facts.flatMap((fact) => fact.queries.map((query) => query.template)))];
    const few = facts.slice(0, 40); // pairs of different facts: their number grows with its square
    const rows = others.map((other) => {
      const same = facts.map((fact) => (other !== template && own(fact, other) ? dice(own(fact, template).neurons, own(fact, other).neurons) : null)).filter((v) => v !== null);
      const across = few.flatMap((a) => few.map((b) => (a !== b && a.object !== b.object && own(b, other) ? dice(own(a, template).neurons, own(b, other).neurons) : null))).filter((v) => v !== null);
      return [other, mean(same), same.length, mean(across)];
    }).sort((a, b) => (b[0] === template) - (a[0] === template) || (b[3] ?? -1) - (a[3] ?? -1));
    const known = facts.filter((fact) => own(fact, template).known).length;
    return [
      make("h3", {}, name),
      make("p", {}, `${inWords(facts)} ${facts.length === 1 ? "is" : "are"} asked with it, ${known} answered right; ${number(mean(facts.map((fact) => own(fact, template).neurons.length)), 1)} neurons a query.`),
      make("h4", {}, "Which templates share its neurons"),
      make("p", { class: "quiet" }, `Dice overlap of the sets of two queries, 2·|A ∩ B| / (|A| + |B|). What queries of facts with other answers share belongs to the templates. The first line is this template with itself. Means over ${inWords(few)}, and two of them at a time in the last column.`),
      table(["Template", "Same fact", "Facts", "Other answers"], rows.map(([other, same, n, across]) => row(link(study.templates[other], "t", study.templates[other]), [number(same, 3), String(n), number(across, 3)])), "Templates that share neurons"),
      make("h4", {}, "Facts"),
      make("p", { class: "chips" }, facts.slice(0, LISTED).map((fact) => link(titled(fact), "f", fact.id))),
    ];
  };

  // ---------------------------------------------------------------- where to go
  const open = (n) => {
    place = n;
    study = read(n);
    if (picker) picker.value = String(n);
    find("choice").textContent = study.choice;
    refresh();
  };
  const go = (focus) => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (!["f", "n", "t"].some((key) => wanted.has(key))) return;
    const n = Math.min(Math.max((+wanted.get("s") || 1) - 1, 0), sources.length - 1);
    if (!study || n !== place) open(n);
    const fact = study.byId.get(wanted.get("f")), neuron = parsed(wanted.get("n") || "");
    const template = wanted.get("t");
    let nodes = [make("p", {}, "There is no such fact, neuron or template here.")];
    if (fact) nodes = factView(fact);
    else if (neuron !== null) nodes = neuronView(neuron);
    else if (study.templates.includes(template)) nodes = templateView(template);
    view.replaceChildren(...nodes);
    mark();
    if (focus) {
      view.focus({ preventScroll: true });
      (matchMedia("(max-width: 56rem)").matches ? view : root).scrollIntoView();
    }
  };
  const step = (by) => {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("f");
    const facts = matching(), at = facts.findIndex((fact) => fact.id === wanted);
    const next = facts[at < 0 ? 0 : at + by];
    if (next) location.hash = address("f", next.id);
  };
  const move = (by) => {
    const links = [...list.querySelectorAll("a")], at = links.indexOf(document.activeElement) + by;
    if (at < 0) search.focus();
    else links[Math.min(at, links.length - 1)]?.focus();
  };
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === search, listed = typing || list.contains(event.target);
    if (event.key === "ArrowDown" && listed) move(1);
    else if (event.key === "ArrowUp" && listed && !typing) move(-1);
    else if (event.key === "Enter" && typing) list.querySelector("a")?.click();
    else if (event.key === "j" && !typing && event.target !== picker) step(1);
    else if (event.key === "k" && !typing && event.target !== picker) step(-1);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const field = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key !== "/" || field || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    search.focus();
  });
  search.addEventListener("input", refresh);
  only.addEventListener("change", refresh);
  if (picker) picker.addEventListener("change", () => { open(+picker.value); view.replaceChildren(); });
  addEventListener("hashchange", () => go(true));
  find("app").hidden = false;
  // The data are read when the explorer comes near the screen, or a link leads into it: the report is drawn first.
  const near = new IntersectionObserver((entries) => {
    if (entries.some((one) => one.isIntersecting)) { near.disconnect(); if (!study) open(0); }
  }, { rootMargin: "600px" });
  near.observe(root);
  go(true);
})();
