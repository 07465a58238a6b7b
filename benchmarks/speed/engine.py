"""Child: time one engine on one graph; `python engine.py ENGINE GRAPH THREADS IMAGES SECONDS`; runs in the peers' environment.

Prints the milliseconds an image takes, by the clock and of processor time: the tenth percentile of its calls, which other
work on the machine disturbs least.
"""

import json
import sys
import time

import numpy as np

BATCH = 16


def overread(file, threads):
    from overread.learn.predict import open_graph, run_graph

    session = open_graph(file)
    shape = session.get_inputs()[0].shape[1:]
    return shape, lambda x: list(run_graph(session, x, workers=threads))


def onnxruntime(file, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.get_inputs()[0].shape[1:], in_batches(lambda b: session.run(["logits", "features"], {"image": b}))


def openvino(file, threads):
    import openvino as ov

    how = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(file, "CPU", how).create_infer_request()
    shape = [d.get_length() for d in list(request.model_inputs[0].partial_shape)[1:]]

    def run(batch):
        out = request.infer({0: batch})
        return tuple(np.array(out[k]) for k in (0, 1))

    return shape, in_batches(run)


def openvino_streams(file, threads):
    """OpenVINO's own way with many images: a stream a thread, an image a request."""
    import openvino as ov

    how = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = ov.Core().compile_model(file, "CPU", how)
    shape = [d.get_length() for d in list(model.inputs[0].partial_shape)[1:]]
    queue = ov.AsyncInferQueue(model, 2 * threads)

    def run(x):
        out = [None] * len(x)

        def keep(request, k):
            out[k] = tuple(np.array(t.data) for t in request.output_tensors)

        queue.set_callback(keep)
        for k, one in enumerate(x):
            queue.start_async({0: one[None]}, k)
        queue.wait_all()
        return out

    return shape, run


def litert(file, threads):
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(file).replace(".onnx", ".tflite"), num_threads=threads)
    given, made = model.get_input_details()[0], model.get_output_details()
    state = {"n": 0}

    def run(batch):
        if len(batch) != state["n"]:
            model.resize_tensor_input(given["index"], batch.shape)
            model.allocate_tensors()
            state["n"] = len(batch)
        model.set_tensor(given["index"], batch)
        model.invoke()
        return tuple(model.get_tensor(m["index"]) for m in made)

    return given["shape"][1:].tolist(), in_batches(run)


def in_batches(run):
    return lambda x: [run(x[i : i + BATCH]) for i in range(0, len(x), BATCH)]


def main():
    name, file, threads, images, seconds = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), float(sys.argv[5])
    shape, run = globals()[name](file, threads)
    x = np.random.default_rng(1).normal(size=(images, *shape)).astype(np.float32)
    for _ in range(2):
        run(x)
    clock, work, end = [], [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(clock) < 5:
        began, worked = time.perf_counter(), time.process_time()
        run(x)
        work.append(time.process_time() - worked)
        clock.append(time.perf_counter() - began)
    told = {key: float(np.quantile(v, 0.1)) / images * 1000 for key, v in (("clock", clock), ("work", work))}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
