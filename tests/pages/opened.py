"""Opens a page as a visitor does, and reads what it says."""

from streamlit.testing.v1 import AppTest


def open_page(name: str, **query: str) -> AppTest:
    """Opens the app, goes to a page and checks that nothing was raised."""
    app = AppTest.from_file("../../dashboard/app.py", default_timeout=30)
    app.query_params.update(query)
    app.run()
    if name != "overview":
        app.switch_page(f"../pages/{name}.py").run()
    assert not app.exception, app.exception
    assert app.title[0].value == name.capitalize()
    return app


def text_of(app: AppTest) -> str:
    parts = (*app.markdown, *app.caption, *app.subheader, *app.error, *app.info, *app.warning)
    return "\n".join(part.value for part in parts).replace("\\", "")  # Markdown escapes
