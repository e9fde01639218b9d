// Turns the skeleton slowly while "turn" is ticked; a hand on the figure stops it for as long.
() => {
  let held = false;
  const figure = () => document.querySelector("#pose-3d .js-plotly-plot");
  document.addEventListener("pointerdown", (event) => {
    held = Boolean(figure()?.contains(event.target));
  }, true);
  document.addEventListener("pointerup", () => { held = false; }, true);
  const step = 40; // ms
  const angle = (2 * Math.PI * step) / 12000; // a round in 12 s
  setInterval(() => {
    const plot = figure();
    const scene = plot?._fullLayout?.scene?._scene;
    const wanted = document.querySelector("#turn input")?.checked;
    if (!scene || !wanted || held || document.hidden || !window.Plotly) return;
    const camera = scene.getCamera();
    const { x, y } = camera.eye;
    camera.eye.x = x * Math.cos(angle) - y * Math.sin(angle);
    camera.eye.y = x * Math.sin(angle) + y * Math.cos(angle);
    window.Plotly.relayout(plot, { "scene.camera": camera });
  }, step);
}
