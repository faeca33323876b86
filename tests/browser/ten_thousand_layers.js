async () => {
  const load = (name) => import(`/extensions/lora-patchbay/lib/${name}.mjs`);
  const [{ buildMap }, { renderMap }, { languageFor }] = await Promise.all(["map_model", "map_view", "i18n"].map(load));
  const body = document.querySelector(".patchbay-side-body");
  const middle = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
  const layer = (block, name, i) => ({ state: "applied", reason: "", lora_key: "", owner: "a", model_key: `b.${i}`,
    block: `blocks.${block}`, layer: name, slice: null, strength: 1, delta_norm: 1 + (i % 7), weight_norm: 50,
    norm_ratio: 0.1, block_strength: 1, not_measured: "" });
  const measure = (blocks, each) => {
    const layers = Array.from({ length: blocks * each }, (_, i) => layer(Math.floor(i / each), `t.${i % each}.attn.to_q`, i));
    const report = { layers, model: { blocks: [{ kind: "blocks", first: 0, count: blocks }], layers: {} }, model_blocks: [] };
    const how = { language: languageFor("en"), label: "", selected: null };
    const times = [];
    // The best of eight: what else runs on the machine only adds.
    for (let run = 0; run < 8; run += 1) {
      const before = performance.now();
      body.replaceChildren(renderMap(buildMap(report, { view: "applied", metric: "relative" }), how, { open() {}, tell() {} }));
      body.getBoundingClientRect();
      times.push(performance.now() - before);
    }
    const scroller = body.querySelector(".patchbay-map-scroller") ?? body;
    const start = scroller.scrollTop;
    const frames = [];
    let far = 0;
    for (let frame = 0; frame < 60; frame += 1) {
      const before = performance.now();
      scroller.scrollTop += 37;
      scroller.dispatchEvent(new Event("scroll"));
      body.getBoundingClientRect();
      scroller.lastElementChild?.getBoundingClientRect();
      frames.push(performance.now() - before);
      far = Math.max(far, scroller.scrollTop - start);
    }
    return { blocks, each, draw_ms: Math.min(...times), draw_median_ms: middle(times), frame_ms: middle(frames), slow_frame_ms: frames[57], scrolled: far };
  };
  return [measure(100, 100), measure(4000, 2)];
}
