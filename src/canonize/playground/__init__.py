"""The playground: turn an image, a molecule or a graph, and watch what a model says, bare and behind a frame.

Everything but `app` is made of pure functions, state in and text or numbers out; `app` puts them on a page with Gradio.
"""
