"""An application for an image."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def read_root():
    return {"message": "from the image"}
