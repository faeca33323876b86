// A wheel turn over a panel: it scrolls what can be scrolled, else it is the canvas's.

/**
 * @param {HTMLElement} root
 * @param {() => HTMLElement} scroller
 * @param {(event: WheelEvent) => void} forward
 */
export function takeWheel(root, scroller, forward) {
  const onWheel = (/** @type {WheelEvent} */ event) => {
    const { scrollHeight, clientHeight } = scroller();
    if (scrollHeight > clientHeight + 1 && !event.ctrlKey && !event.metaKey) event.stopPropagation();
    else forward(event);
  };
  root.addEventListener("wheel", onWheel, { passive: false });
}
